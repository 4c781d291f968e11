//! Acting on a plan: the starts, side by side and bounded, holding back where the host just refused. `go_on` is asked
//! before each action whether it may still begin: another orchestrator may lead by then, or it is time to stop.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use futures::{StreamExt, future::ready, stream};
use tokio::time::Instant;

use super::{equip, pace::BackOff};
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId},
    core::{AgentAction, AgentChange, EquipRun, Policy, StartRun, StopRun},
    hosts::{AgentHost, HostError, Started},
};

/// Starts in flight at once. More makes no API server faster, only its queue longer.
const CONCURRENT_STARTS: usize = 16;

/// Changes to registrations in flight at once. None of them is urgent.
const CONCURRENT_CHANGES: usize = 4;

/// The wait where there is no room.
const FULL: Duration = Duration::from_secs(3);

/// A pool and one of its agent templates: what one refusal speaks for.
pub(super) type Kind = (String, String);

/// Kinds of agents that the host refused to start, and until when they are not tried again.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<Kind, (BackOff, Instant)>);

impl Holds {
    fn holds(&self, kind: &Kind, now: Instant) -> bool {
        self.0.get(kind).is_some_and(|(_, until)| now < *until)
    }

    fn refused(&mut self, kind: &Kind, now: Instant) -> Duration {
        let (back_off, until) = self.0.entry(kind.clone()).or_insert_with(|| (BackOff::default(), now));
        // Starts that were in flight together fail together: that is one refusal, not sixteen.
        if now >= *until {
            *until = now + back_off.failed();
        }
        *until - now
    }

    /// There is no room: that is no failure of this kind of agents, and may change soon.
    fn full(&mut self, kind: &Kind, now: Instant) {
        let (back_off, until) = self.0.entry(kind.clone()).or_insert_with(|| (BackOff::default(), now));
        if now >= *until {
            (*back_off, *until) = (BackOff::default(), now + FULL);
        }
    }

    /// What came of an attempt with an agent of this kind.
    fn came_out<T>(&mut self, kind: &Kind, result: &Result<T, HostError>) {
        match result {
            Ok(_) => drop(self.0.remove(kind)),
            // A name that is taken says nothing about the next one.
            Err(HostError::Collision { .. }) => {}
            Err(HostError::Full { .. }) => self.full(kind, Instant::now()),
            Err(_) => drop(self.refused(kind, Instant::now())),
        }
    }

    /// The earliest moment still to come at which something may be tried again.
    pub(super) fn next_after(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|(_, until)| *until).filter(|&until| until > now).min()
    }
}

/// How one start came out.
pub(super) struct Acted {
    pub(super) start: StartRun,
    pub(super) result: Result<Started, HostError>,
}

/// The two sides that a run is made ready between.
pub(super) struct Sides<'a, A, H> {
    pub(super) azure_devops: &'a A,
    pub(super) host: &'a H,
    pub(super) policy: &'a Policy,
    /// The numbers of the pools that are known.
    pub(super) numbers: HashMap<String, PoolId>,
    /// Whether we may still act: a step that changes what another one has begun by then would undo it.
    pub(super) go_on: &'a dyn Fn() -> bool,
}

impl<A: AzureDevOps, H: AgentHost> Sides<'_, A, H> {
    /// Ends a run, and takes its registration back where it cannot do that itself. What fails of that is swept later.
    async fn stop(&self, run: &StopRun) -> Result<(), HostError> {
        self.host.stop(run).await?;
        if let (Some(agent), Some(pool)) = (&run.agent, self.numbers.get(&run.pool))
            && let Err(error) = self.azure_devops.deregister(*pool, agent.id).await
        {
            tracing::debug!(run = run.name, %error, "the registration of a stopped agent stays for now");
        }
        Ok(())
    }

    /// Starts a run. One that waits for its files gets them from whoever has made it.
    async fn start(&self, run: &StartRun) -> Result<Started, HostError> {
        let started = self.host.start(run).await?;
        if started == Started::Created && equip::is_held(run) {
            let agent = equip::new_agent(self.policy, &run.pool, &run.template, &run.name);
            equip::finish(self.azure_devops, self.host, self.number(&run.pool)?, &agent, self.go_on).await?;
        }
        Ok(started)
    }

    async fn equip(&self, run: &EquipRun) -> Result<(), HostError> {
        let agent = equip::new_agent(self.policy, &run.pool, &run.template, &run.name);
        self.host.claim(run).await?;
        equip::finish(self.azure_devops, self.host, self.number(&run.pool)?, &agent, self.go_on).await
    }

    fn number(&self, pool: &str) -> Result<PoolId, HostError> {
        let unknown = || HostError::Unavailable(format!("the number of the pool \"{pool}\" is not known"));
        self.numbers.get(pool).copied().ok_or_else(unknown)
    }
}

/// Makes runs ready that were seen waiting for it, telling `report` of each as it comes out. What is refused for one is held
/// back for the others of its kind.
pub(super) async fn equip_runs<A: AzureDevOps, H: AgentHost>(
    sides: &Sides<'_, A, H>,
    equips: Vec<EquipRun>,
    holds: &RefCell<&mut Holds>,
    mut report: impl FnMut(&EquipRun, Result<(), HostError>),
) {
    let kind_of = |run: &EquipRun| (run.pool.clone(), run.template.clone());
    let mut equipping = stream::iter(equips)
        .take_while(|_| ready((sides.go_on)()))
        .filter(|run| ready(!holds.borrow().holds(&kind_of(run), Instant::now())))
        .map(async |run| {
            let result = sides.equip(&run).await;
            (run, result)
        })
        .buffer_unordered(CONCURRENT_STARTS);
    while let Some((run, result)) = equipping.next().await {
        holds.borrow_mut().came_out(&kind_of(&run), &result);
        report(&run, result);
    }
}

/// Ends the runs that the plan says, telling `report` of each as it comes out.
pub(super) async fn stop_runs<A: AzureDevOps, H: AgentHost>(
    sides: &Sides<'_, A, H>,
    stops: Vec<StopRun>,
    go_on: impl Fn() -> bool,
    mut report: impl FnMut(&StopRun, Result<(), HostError>),
) {
    let mut stopping = stream::iter(stops)
        .take_while(|_| ready(go_on()))
        .map(async |stop| {
            let result = sides.stop(&stop).await;
            (stop, result)
        })
        .buffer_unordered(CONCURRENT_STARTS);
    while let Some((stop, result)) = stopping.next().await {
        report(&stop, result);
    }
}

/// Changes registrations as the plan says, telling `report` of each as it comes out. Each change is harmless when it is
/// repeated, and the next pass repeats what failed.
pub(super) async fn change_agents<A: AzureDevOps>(
    azure_devops: &A,
    actions: Vec<(PoolId, AgentAction)>,
    go_on: impl Fn() -> bool,
    mut report: impl FnMut(&AgentAction, Result<(), Error>),
) {
    let mut changing = stream::iter(actions)
        .take_while(|_| ready(go_on()))
        .map(async |(pool, action)| {
            let result = match &action.change {
                AgentChange::Disable(agent, _) => azure_devops.disable(pool, agent.id).await,
                AgentChange::Deregister(agent, _) => azure_devops.deregister(pool, agent.id).await,
                AgentChange::Register(placeholder) => azure_devops.register(pool, placeholder).await,
                AgentChange::Update(agent, placeholder) => azure_devops.update(pool, *agent, placeholder).await,
            };
            (action, result)
        })
        .buffer_unordered(CONCURRENT_CHANGES);
    while let Some((action, result)) = changing.next().await {
        report(&action, result);
    }
}

/// Starts what the plan says, telling `report` of each as it comes out.
pub(super) async fn start_runs<A: AzureDevOps, H: AgentHost>(
    sides: &Sides<'_, A, H>,
    starts: Vec<StartRun>,
    holds: &RefCell<&mut Holds>,
    go_on: impl Fn() -> bool,
    mut report: impl FnMut(&Acted),
) {
    let now = Instant::now();
    let kind_of = |start: &StartRun| (start.pool.clone(), start.template.clone());
    let allowed: Vec<StartRun> =
        starts.into_iter().filter(|start| !holds.borrow().holds(&kind_of(start), now)).collect();
    // After a refusal the first start goes alone; the rest follows when it succeeds.
    let (probes, rest): (Vec<_>, Vec<_>) = {
        let mut probed = std::collections::HashSet::new();
        allowed.into_iter().partition(|start| {
            let kind = kind_of(start);
            holds.borrow().0.contains_key(&kind) && probed.insert(kind)
        })
    };
    for batch in [probes, rest] {
        let mut acted = stream::iter(batch)
            .take_while(|_| ready(go_on()))
            // Looked at one by one: what is refused meanwhile holds up the rest of its kind.
            .filter(|start| ready(!holds.borrow().holds(&kind_of(start), Instant::now())))
            .map(async |start| {
                let result = sides.start(&start).await;
                Acted { start, result }
            })
            .buffer_unordered(CONCURRENT_STARTS);
        while let Some(acted) = acted.next().await {
            holds.borrow_mut().came_out(&kind_of(&acted.start), &acted.result);
            report(&acted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> Kind {
        ("pool".to_owned(), "template".to_owned())
    }

    /// How long this kind is held back after such an answer, some time after the last one.
    async fn wait_after(holds: &mut Holds, error: HostError) -> Duration {
        holds.came_out(&kind(), &Err::<(), _>(error));
        let until = holds.next_after(Instant::now()).unwrap();
        let wait = until - Instant::now();
        tokio::time::advance(wait).await;
        wait
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_answered_with_longer_and_longer_waits_and_a_lack_of_room_is_not() {
        let mut holds = Holds::default();
        let refused = || HostError::Refused { reason: "quota", message: String::new(), fix: None };
        let (first, second) = (wait_after(&mut holds, refused()).await, wait_after(&mut holds, refused()).await);
        assert!(second > first, "{first:?} {second:?}");
        let full = || HostError::Full { message: String::new(), fix: String::new() };
        for _ in 0..5 {
            assert_eq!(wait_after(&mut holds, full()).await, FULL);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_in_flight_together_wait_no_longer_for_each_other() {
        let mut holds = Holds::default();
        let full = || Err::<(), _>(HostError::Full { message: String::new(), fix: String::new() });
        holds.came_out(&kind(), &full());
        let until = holds.next_after(Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        holds.came_out(&kind(), &full());
        assert_eq!(holds.next_after(Instant::now()), until);
        holds.came_out(&kind(), &Ok::<_, HostError>(()));
        assert!(!holds.holds(&kind(), Instant::now()));
    }
}
