//! Who can serve whom: a maximum assignment between classes of job requests and classes of agents.
//!
//! Requests with the same demands are alike, and so are agents with the same capabilities; so it is the classes that
//! are matched, with their sizes as capacities. Cost grows with the number of different classes, not with the number
//! of requests.

/// Assigns as much demand as possible to supply. `fits(d, s)` says whether class `s` of supply can serve class `d`.
/// The answer holds, for each class of demand, how much of each class of supply it was given. Earlier classes of
/// demand are never worse off for later ones.
pub(super) fn assign(demand: &[usize], supply: &[usize], fits: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    let mut flow = vec![vec![0; supply.len()]; demand.len()];
    let mut free = supply.to_vec();
    let edges: Vec<Vec<usize>> =
        (0..demand.len()).map(|d| (0..supply.len()).filter(|&s| fits(d, s)).collect()).collect();
    for (d, &demand) in demand.iter().enumerate() {
        let mut open = demand;
        while open > 0 {
            let Some(path) = augmenting_path(d, &edges, &flow, &free) else { break };
            let amount = path_capacity(&path, &flow, &free).min(open);
            push(&path, amount, &mut flow, &mut free);
            open -= amount;
        }
    }
    flow
}

/// Alternating classes: demand, supply, demand, supply … ending in supply that is free.
type Path = Vec<(usize, usize)>;

/// Breadth first, so that paths are short and every class of supply is visited once.
fn augmenting_path(start: usize, edges: &[Vec<usize>], flow: &[Vec<usize>], free: &[usize]) -> Option<Path> {
    let mut reached_from: Vec<Option<usize>> = vec![None; free.len()];
    let mut entered_by: Vec<Option<usize>> = vec![None; edges.len()];
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(d) = queue.pop_front() {
        for &s in &edges[d] {
            if reached_from[s].is_some() {
                continue;
            }
            reached_from[s] = Some(d);
            if free[s] > 0 {
                return Some(trace(s, start, &reached_from, &entered_by));
            }
            for (other, given) in flow.iter().enumerate() {
                if given[s] > 0 && other != start && entered_by[other].is_none() {
                    entered_by[other] = Some(s);
                    queue.push_back(other);
                }
            }
        }
    }
    None
}

fn trace(end: usize, start: usize, reached_from: &[Option<usize>], entered_by: &[Option<usize>]) -> Path {
    let mut path = Vec::new();
    let mut s = Some(end);
    while let Some(supply) = s {
        let Some(d) = reached_from[supply] else { break };
        path.push((d, supply));
        s = if d == start { None } else { entered_by[d] };
    }
    path.reverse();
    path
}

/// What can be moved along the path: each later demand gives up supply that the one before it takes.
fn path_capacity(path: &Path, flow: &[Vec<usize>], free: &[usize]) -> usize {
    let given_up = path.windows(2).map(|pair| flow[pair[1].0][pair[0].1]);
    let end = path.last().map_or(0, |&(_, s)| free[s]);
    given_up.chain([end]).min().unwrap_or(0)
}

fn push(path: &Path, amount: usize, flow: &mut [Vec<usize>], free: &mut [usize]) {
    for pair in path.windows(2) {
        flow[pair[1].0][pair[0].1] -= amount;
    }
    for &(d, s) in path {
        flow[d][s] += amount;
    }
    if let Some(&(_, s)) = path.last() {
        free[s] -= amount;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn served(flow: &[Vec<usize>]) -> Vec<usize> {
        flow.iter().map(|given| given.iter().sum()).collect()
    }

    #[test]
    fn a_flexible_agent_is_left_to_the_request_that_needs_it() {
        // Demand 0 fits both agents, demand 1 only agent 0.
        let flow = assign(&[1, 1], &[1, 1], |d, s| d == 0 || s == 0);
        assert_eq!(served(&flow), [1, 1]);
    }

    #[test]
    fn earlier_demand_keeps_what_it_has() {
        let flow = assign(&[2, 5], &[3], |_, _| true);
        assert_eq!(served(&flow), [2, 1]);
    }

    /// The greatest assignment by trying everything, for small cases.
    fn best(demand: &mut Vec<usize>, supply: &mut Vec<usize>, fits: &dyn Fn(usize, usize) -> bool) -> usize {
        let Some(d) = demand.iter().position(|&open| open > 0) else { return 0 };
        demand[d] -= 1;
        let mut most = best(demand, supply, fits);
        for s in 0..supply.len() {
            if supply[s] > 0 && fits(d, s) {
                supply[s] -= 1;
                most = most.max(1 + best(demand, supply, fits));
                supply[s] += 1;
            }
        }
        demand[d] += 1;
        most
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn no_assignment_is_greater(
            demand in prop::collection::vec(0usize..3, 1..4),
            supply in prop::collection::vec(0usize..3, 1..4),
            bits: u16,
        ) {
            let fits = |d: usize, s: usize| bits >> (d * 4 + s) & 1 == 1;
            let flow = assign(&demand, &supply, fits);
            for (d, given) in flow.iter().enumerate() {
                prop_assert!(given.iter().sum::<usize>() <= demand[d]);
                prop_assert!(given.iter().enumerate().all(|(s, &amount)| amount == 0 || fits(d, s)));
            }
            for (s, &amount) in supply.iter().enumerate() {
                prop_assert!(flow.iter().map(|given| given[s]).sum::<usize>() <= amount);
            }
            let total: usize = served(&flow).iter().sum();
            prop_assert_eq!(total, best(&mut demand.clone(), &mut supply.clone(), &fits));
        }
    }
}
