//! Lists in which something stands twice. Azure DevOps pages through lists that change meanwhile, so that one request or
//! agent may come in two pages, as it was and as it is. It is planned for once, as what can be harmed most.

use std::{borrow::Cow, hash::Hash};

use super::{Agent, JobRequest, PoolSnapshot, Snapshot, Stage, quick_hash::HashMap};

/// The snapshot with each request, agent and run once. It is copied only if something stands in it twice.
pub(super) fn without_duplicates(snapshot: &Snapshot) -> Cow<'_, Snapshot> {
    if !snapshot.pools.iter().any(has_duplicates) {
        return Cow::Borrowed(snapshot);
    }
    let mut snapshot = snapshot.clone();
    for pool in &mut snapshot.pools {
        unite(&mut pool.requests, |request| request.id, how_far);
        unite(&mut pool.runs, |run| run.name.clone(), |run| u8::from(run.is_live()));
        if let Some(agents) = &mut pool.agents {
            unite(agents, |agent| agent.id, how_busy);
        }
    }
    Cow::Owned(snapshot)
}

fn has_duplicates(pool: &PoolSnapshot) -> bool {
    let agents = pool.agents.as_deref().unwrap_or_default();
    stand_twice(pool.requests.iter().map(|request| request.id.0))
        || stand_twice(agents.iter().map(|agent| agent.id.0))
        || stand_twice(pool.runs.iter().map(|run| run.name.as_str()))
}

/// Lists mostly come in the order of their keys, where a comparison with the one before is enough.
fn stand_twice<K: Ord + Hash>(keys: impl Iterator<Item = K> + Clone) -> bool {
    let pairs = || keys.clone().zip(keys.clone().skip(1));
    if pairs().all(|(one, next)| one < next) || pairs().all(|(one, next)| one > next) {
        return false;
    }
    let mut known = super::quick_hash::HashSet::default();
    known.reserve(keys.size_hint().0);
    !keys.into_iter().all(|key| known.insert(key))
}

/// Of those with the same key the one of the highest rank stays, in the place of the first.
fn unite<T, K: Eq + Hash>(items: &mut Vec<T>, key: impl Fn(&T) -> K, rank: impl Fn(&T) -> u8) {
    let mut places: HashMap<K, usize> = HashMap::default();
    let mut united: Vec<T> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        match places.get(&key(&item)) {
            Some(&place) if rank(&item) > rank(&united[place]) => united[place] = item,
            Some(_) => {}
            None => {
                places.insert(key(&item), united.len());
                united.push(item);
            }
        }
    }
    *items = united;
}

/// A request only ever comes further.
fn how_far(request: &JobRequest) -> u8 {
    match request.stage {
        Stage::Waiting => 0,
        Stage::Assigned(_) => 1,
        Stage::Running(_) => 2,
        Stage::Finished => 3,
    }
}

/// An agent that has a request in either line may have it.
fn how_busy(agent: &Agent) -> u8 {
    u8::from(agent.assigned.is_some())
}
