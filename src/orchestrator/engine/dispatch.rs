//! Beginning what was decided, each kind of call in its own time. Whether we may act is asked before each of them.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Engine, SIGHT_HOLDS, came_out::Outcome};
use crate::{
    azure_devops::{AzureDevOps, NewAgent},
    core::{AgentAction, EquipRun, JobRequest, Purpose, RequestId, Run, Stage, StartRun, StopRun},
    hosts::AgentHost,
    orchestrator::{
        act,
        calls::{ALL_POOLS, Call, Kind},
        equip,
        holds::Scope,
    },
};

/// A change to a registration that could not begin by then is decided anew.
const CHANGE_HOLDS: Duration = Duration::from_secs(120);

/// What was decided about a pool and has not begun. The next plan about the pool takes its place.
#[derive(Debug)]
pub(super) struct ToDo {
    /// The listing of our runs that it was decided from.
    listing: u64,
    /// When the job requests were seen that the starts are for.
    seen_at: Instant,
    decided_at: Instant,
    pub(super) starts: VecDeque<StartRun>,
    equips: VecDeque<(EquipRun, Run)>,
    stops: VecDeque<StopRun>,
    disables: VecDeque<AgentAction>,
    changes: VecDeque<AgentAction>,
    /// The same two for the changes to registrations, which only a look at the agents decides.
    changes_listing: u64,
    changes_decided_at: Instant,
}

impl Default for ToDo {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            listing: 0,
            seen_at: now,
            decided_at: now,
            starts: VecDeque::new(),
            equips: VecDeque::new(),
            stops: VecDeque::new(),
            disables: VecDeque::new(),
            changes: VecDeque::new(),
            changes_listing: 0,
            changes_decided_at: now,
        }
    }
}

impl ToDo {
    pub(super) fn decided(
        &mut self,
        listing: u64,
        seen_at: Instant,
        now: Instant,
        (starts, equips, stops): (Vec<StartRun>, Vec<(EquipRun, Run)>, Vec<StopRun>),
    ) {
        (self.listing, self.seen_at, self.decided_at) = (listing, seen_at, now);
        (self.starts, self.equips, self.stops) = (starts.into(), equips.into(), stops.into());
    }

    pub(super) fn change(&mut self, actions: Vec<AgentAction>) {
        (self.changes_listing, self.changes_decided_at) = (self.listing, self.decided_at);
        let (disables, changes): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| act::kind_of(&action.change).0 == Kind::Disable);
        (self.disables, self.changes) = (disables.into(), changes.into());
    }

    /// The requests were looked at once more: starts for those that wait no longer are forgotten.
    pub(super) fn seen_again(&mut self, requests: &[JobRequest], now: Instant) {
        let waiting: BTreeSet<RequestId> =
            requests.iter().filter(|request| request.stage == Stage::Waiting).map(|request| request.id).collect();
        self.starts.retain(|start| match start.purpose {
            Purpose::Request(id) => waiting.contains(&id),
            Purpose::Slot(_) => true,
        });
        self.seen_at = now;
    }
}

/// What becomes of something that is to do.
enum Verdict {
    Begin,
    /// It waits for its turn.
    Keep,
    /// A later plan says it again, if it is still so.
    Forget,
    /// There is no room for more of its kind.
    Full,
}

impl<A: AzureDevOps, H: AgentHost> Engine<'_, A, H> {
    /// Begins what may begin now.
    pub(super) fn dispatch(&mut self) {
        if !self.may_begin() {
            return;
        }
        for index in 0..self.pools.len() {
            self.begin_disables(index);
            self.begin_starts(index);
            self.begin_equips(index);
            self.begin_stops(index);
            self.begin_changes(index);
            self.ask_for_number(index);
        }
        let in_flight = self.calls.in_flight().map(|(call, _)| call.kind);
        self.metrics.in_flight(in_flight);
    }

    fn may_begin(&self) -> bool {
        self.leadership.may_act() && !self.stop.is_wanted() && (self.asked || self.single_pass)
    }

    /// Whether a call that was decided from a listing may begin. `scopes` are what failures of others may say of it.
    fn judge(&self, call: &Call, listing: u64, scopes: &[Scope]) -> Verdict {
        let Call { pool, kind, object } = call;
        if !self.calls.has_room(*pool, *kind) {
            return Verdict::Full;
        }
        let is_current = self.expected.is_current(*pool, kind.family(), object, listing);
        if !is_current || self.calls.touches(*pool, *kind, object) {
            return Verdict::Forget;
        }
        let now = Instant::now();
        if scopes.iter().all(|scope| self.holds.allow(scope, now)) { Verdict::Begin } else { Verdict::Keep }
    }

    /// Goes through a queue. What is kept stays in order.
    fn drain<T>(&mut self, queue: VecDeque<T>, mut begin: impl FnMut(&mut Self, &T) -> Verdict) -> VecDeque<T> {
        let mut kept = VecDeque::new();
        let mut queue = queue.into_iter();
        for item in queue.by_ref() {
            match begin(self, &item) {
                Verdict::Begin | Verdict::Forget => {}
                Verdict::Keep => kept.push_back(item),
                Verdict::Full => {
                    kept.push_back(item);
                    break;
                }
            }
        }
        kept.extend(queue);
        kept
    }

    fn begin_starts(&mut self, index: usize) {
        let now = Instant::now();
        let to_do = &mut self.pools[index].to_do;
        if to_do.starts.is_empty() {
            self.pools[index].starts_wait = None;
            return;
        }
        if self.parallel_jobs.starts_wait_until(now).is_some() && !self.single_pass {
            return;
        }
        let (listing, fresh) = (to_do.listing, now < to_do.seen_at + SIGHT_HOLDS || self.single_pass);
        let starts = std::mem::take(&mut to_do.starts);
        let mut needs_look = false;
        let kept = self.drain(starts, |engine, start| {
            let scope = Scope::new(index, Kind::Start, &start.template);
            let call = Call { pool: index, kind: Kind::Start, object: start.name.clone() };
            match engine.judge(&call, listing, std::slice::from_ref(&scope)) {
                Verdict::Begin if !fresh && matches!(start.purpose, Purpose::Request(_)) => {
                    needs_look = true;
                    Verdict::Keep
                }
                Verdict::Begin => {
                    engine.holds.began(&scope);
                    engine.begin_start(call, start.clone());
                    Verdict::Begin
                }
                other => other,
            }
        });
        if kept.is_empty() {
            self.pools[index].starts_wait = None;
        } else {
            self.pools[index].starts_wait.get_or_insert(now);
        }
        self.pools[index].to_do.starts = kept;
        if needs_look {
            self.look_again(index);
        }
    }

    fn begin_start(&mut self, call: Call, run: StartRun) {
        let (azure_devops, host, number) = (self.azure_devops.clone(), self.host.clone(), self.pools[call.pool].id);
        let (agent, go_on) = (self.new_agent(&run.pool, &run.template, &run.name), self.go_on());
        self.expected.begins(run.expected(self.now()));
        self.calls.begin(call, async move {
            let result = act::start(&azure_devops, &host, &run, number, &agent, &go_on).await;
            Outcome::Started(act::Acted { start: run, result })
        });
    }

    fn begin_equips(&mut self, index: usize) {
        let to_do = &mut self.pools[index].to_do;
        let (listing, equips) = (to_do.listing, std::mem::take(&mut to_do.equips));
        let kept = self.drain(equips, |engine, (equip, run)| {
            // What is refused for one that is started is refused for one that is made ready.
            let scope = Scope::new(index, Kind::Start, &equip.template);
            let call = Call { pool: index, kind: Kind::Equip, object: equip.name.clone() };
            let verdict = engine.judge(&call, listing, std::slice::from_ref(&scope));
            if matches!(verdict, Verdict::Begin) {
                engine.holds.began(&scope);
                let (azure_devops, host, number) =
                    (engine.azure_devops.clone(), engine.host.clone(), engine.pools[index].id);
                let (agent, go_on) = (engine.new_agent(&equip.pool, &equip.template, &equip.name), engine.go_on());
                engine.expected.begins(run.clone());
                let equip = equip.clone();
                engine.calls.begin(call, async move {
                    let result = act::equip(&azure_devops, &host, &equip, number, &agent, &go_on).await;
                    Outcome::Equipped(equip, result)
                });
            }
            verdict
        });
        self.pools[index].to_do.equips = kept;
    }

    fn begin_stops(&mut self, index: usize) {
        let to_do = &mut self.pools[index].to_do;
        let (listing, stops) = (to_do.listing, std::mem::take(&mut to_do.stops));
        // Nothing is ended on an old view.
        let fresh = self.single_pass || Instant::now() < to_do.decided_at + SIGHT_HOLDS;
        if !fresh {
            return;
        }
        let kept = self.drain(stops, |engine, stop| {
            let scopes = [Scope::new(index, Kind::Stop, ""), Scope::new(index, Kind::Stop, &stop.name)];
            let call = Call { pool: index, kind: Kind::Stop, object: stop.name.clone() };
            let verdict = engine.judge(&call, listing, &scopes);
            if matches!(verdict, Verdict::Begin) {
                scopes.iter().for_each(|scope| engine.holds.began(scope));
                let (azure_devops, host, number) =
                    (engine.azure_devops.clone(), engine.host.clone(), engine.pools[index].id);
                let stop = stop.clone();
                engine.calls.begin(call, async move {
                    let result = act::stop(&azure_devops, &host, &stop, number).await;
                    Outcome::Stopped(stop, result)
                });
            }
            verdict
        });
        self.pools[index].to_do.stops = kept;
    }

    fn begin_disables(&mut self, index: usize) {
        let disables = std::mem::take(&mut self.pools[index].to_do.disables);
        self.pools[index].to_do.disables = self.begin_changes_of(index, disables);
    }

    fn begin_changes(&mut self, index: usize) {
        let changes = std::mem::take(&mut self.pools[index].to_do.changes);
        self.pools[index].to_do.changes = self.begin_changes_of(index, changes);
    }

    fn begin_changes_of(&mut self, index: usize, changes: VecDeque<AgentAction>) -> VecDeque<AgentAction> {
        let Some(number) = self.pools[index].id else { return VecDeque::new() };
        let ToDo { changes_listing, changes_decided_at, .. } = self.pools[index].to_do;
        if changes.is_empty() || !self.single_pass && Instant::now() > changes_decided_at + CHANGE_HOLDS {
            return VecDeque::new();
        }
        self.drain(changes, |engine, action| {
            let (kind, object) = act::kind_of(&action.change);
            let scopes = [Scope::new(index, kind, ""), Scope::new(index, kind, object)];
            let call = Call { pool: index, kind, object: object.to_owned() };
            let verdict = engine.judge(&call, changes_listing, &scopes);
            if matches!(verdict, Verdict::Begin) {
                scopes.iter().for_each(|scope| engine.holds.began(scope));
                let (azure_devops, action) = (engine.azure_devops.clone(), action.clone());
                engine.calls.begin(call, async move {
                    let result = act::change(&azure_devops, number, &action.change).await;
                    Outcome::Changed(action, result)
                });
            }
            verdict
        })
    }

    /// Asks for the requests once more that starts were decided for a while ago.
    fn look_again(&mut self, index: usize) {
        let scope = Scope::new(index, Kind::SecondLook, "");
        let Some(number) = self.pools[index].id else { return };
        if self.calls.has(index, Kind::SecondLook) || !self.holds.allow(&scope, Instant::now()) {
            return;
        }
        let azure_devops = self.azure_devops.clone();
        let call = Call { pool: index, kind: Kind::SecondLook, object: String::new() };
        self.calls.begin(call, async move { Outcome::SeenAgain(azure_devops.job_requests(number).await) });
    }

    /// Marks busy agents, unless that is going on.
    pub(super) fn mark_busy(&mut self) {
        let scope = Scope::new(ALL_POOLS, Kind::MarkBusy, "");
        if !self.may_begin() || self.calls.has(ALL_POOLS, Kind::MarkBusy) || !self.holds.allow(&scope, Instant::now()) {
            return;
        }
        let (host, busy): (_, BTreeSet<String>) = (self.host.clone(), self.busy.values().flatten().cloned().collect());
        let call = Call { pool: ALL_POOLS, kind: Kind::MarkBusy, object: String::new() };
        self.calls.begin(call, async move { Outcome::MarkedBusy(host.mark_busy(&busy).await) });
    }

    /// Puts away what ended runs left, unless that is going on.
    pub(super) fn tidy(&mut self) {
        let scope = Scope::new(ALL_POOLS, Kind::Tidy, "");
        if !self.may_begin() || self.calls.has(ALL_POOLS, Kind::Tidy) || !self.holds.allow(&scope, Instant::now()) {
            return;
        }
        let (host, runs) = (self.host.clone(), Arc::clone(&self.runs));
        let call = Call { pool: ALL_POOLS, kind: Kind::Tidy, object: String::new() };
        self.calls.begin(call, async move { Outcome::Tidied(host.tidy(&runs).await) });
    }

    fn new_agent(&self, pool: &str, template: &str, name: &str) -> NewAgent {
        equip::new_agent(&self.policy, pool, template, name)
    }

    /// Whether the next step of something that has begun may begin.
    fn go_on(&self) -> impl Fn() -> bool + use<A, H> {
        let (leadership, stop) = (self.leadership.clone(), self.stop.clone());
        move || leadership.may_act() && !stop.is_wanted()
    }
}
