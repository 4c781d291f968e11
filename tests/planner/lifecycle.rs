//! The life of a run, rule by rule: `docs/lifecycle-of-a-run.md` has the table.

use std::time::Duration;

use kubectl_ado::core::{
    Agent, AgentChange, Held, INSTALLATION_CAPABILITY, Memory, Plan, Policy, Progress, Recipe, RequestId, Run,
    RunPhase, Snapshot, StopReason, Timeouts, Verdict,
};

use crate::situation::*;

const SECOND: Duration = Duration::from_secs(1);

fn with_timeouts(timeouts: Timeouts) -> Policy {
    let mut policy = simple();
    policy.pools[0].templates[0].timeouts = timeouts;
    policy
}

fn quick() -> Policy {
    with_timeouts(Timeouts { start: 60 * SECOND, pull: 200 * SECOND, schedule: 400 * SECOND, queue: None })
}

/// One who looks each five seconds, and sees runs made at the first look.
struct Watch {
    memory: Memory,
    policy: Policy,
    seconds: u32,
}

impl Watch {
    fn new(policy: Policy) -> Self {
        let mut watch = Self { memory: Memory::default(), policy, seconds: 0 };
        watch.look(&snapshot(vec![request(1, &[])], vec![], vec![placeholder()]));
        watch
    }

    fn look(&mut self, observed: &Snapshot) -> Plan {
        self.seconds += 5;
        look(&mut self.memory, &self.policy, observed, SECOND * self.seconds)
    }

    /// For how many seconds nothing is ended while all stays so; at most an hour and a half.
    fn spares(&mut self, observed: &Snapshot) -> u32 {
        let began = self.seconds;
        while self.seconds - began < 5400 && self.look(observed).stops.is_empty() {}
        self.seconds - began
    }
}

/// A registration of ours that is always there.
fn placeholder() -> Agent {
    let mut agent = Agent { online: false, enabled: false, ..agent(900, "placeholder-x") };
    agent.capabilities.set(INSTALLATION_CAPABILITY, "test");
    agent.capabilities.set("KUBECTL_ADO_PLACEHOLDER", "default");
    agent
}

fn fresh(progress: Progress) -> Run {
    Run { created_at: at(0), progress, runs_since: None, ..starting("r1", 1) }
}

fn seen(run: &Run, agents: Vec<Agent>) -> Snapshot {
    let agents = agents.into_iter().chain([placeholder()]).collect();
    snapshot(vec![request(1, &[])], vec![run.clone()], agents)
}

fn busy() -> Agent {
    Agent { assigned: Some(RequestId(1)), enabled: false, ..agent(1, "r1") }
}

#[test]
fn each_step_of_a_start_has_its_own_time() {
    for (progress, spared) in [(Progress::Pending, 400), (Progress::Placed, 200), (Progress::Queued, 5400)] {
        let seconds = Watch::new(quick()).spares(&seen(&fresh(progress), vec![]));
        assert!((spared..spared + 15).contains(&seconds), "{progress:?}: {seconds} s");
    }
    let queue = Timeouts { queue: Some(100 * SECOND), ..Timeouts::default() };
    let seconds = Watch::new(with_timeouts(queue)).spares(&seen(&fresh(Progress::Queued), vec![]));
    assert!((100..115).contains(&seconds), "{seconds}");
}

#[test]
fn a_step_begins_when_the_one_before_has_ended() {
    let mut watch = Watch::new(quick());
    let offline = Agent { online: false, created_at: None, status_changed_at: None, ..agent(1, "r1") };
    let jit = |progress| Run { recipe: Recipe::JustInTime, ..fresh(progress) };
    for (progress, seconds) in [(Progress::Queued, 3000), (Progress::Pending, 390), (Progress::Placed, 190)] {
        for _ in 0..seconds / 5 {
            let plan = watch.look(&seen(&jit(progress), vec![offline.clone()]));
            assert!(plan.stops.is_empty() && plan.starts.is_empty(), "{progress:?}: {plan:?}");
        }
    }
    let seconds = watch.spares(&seen(&jit(Progress::Running), vec![offline]));
    assert!((60..75).contains(&seconds), "{seconds}");
}

#[test]
fn an_agent_that_took_its_registration_back_is_not_counted_as_starting() {
    let mut watch = Watch::new(quick());
    let run = fresh(Progress::Running);
    let counts = |plan: Plan| (plan.pools[0].counts.starting, plan.pools[0].counts.busy);
    assert_eq!(counts(watch.look(&seen(&run, vec![]))), (1, 0));
    assert_eq!(counts(watch.look(&seen(&run, vec![busy()]))), (0, 1));
    let gone = snapshot(vec![], vec![run], vec![placeholder()]);
    assert_eq!(counts(watch.look(&gone)), (0, 0));
}

#[test]
fn no_other_agent_is_started_beside_a_held_one_that_is_to_be_ended() {
    let mut watch = Watch::new(quick());
    let held = Some(Held { by: "other".to_owned(), since: at(0) });
    let observed = seen(&Run { held, recipe: Recipe::JustInTime, ..fresh(Progress::Pending) }, vec![]);
    let mut plan = Plan::default();
    while plan.stops.is_empty() {
        plan = watch.look(&observed);
        assert!(plan.starts.is_empty(), "{plan:?}");
    }
    assert_eq!(plan.stops[0].reason, StopReason::NeverReady);
    let ended_at = watch.seconds;
    assert_eq!(
        started_for(&watch.look(&snapshot(vec![request(1, &[])], vec![], vec![placeholder()]))),
        [1],
        "it is gone"
    );

    // One that cannot be ended does not keep its request waiting for ever.
    let mut watch = Watch { memory: Memory::default(), ..Watch::new(quick()) };
    while watch.look(&observed).starts.is_empty() {
        assert!(watch.seconds < ended_at + 90);
    }
    assert!(watch.seconds >= ended_at + 45, "{}", watch.seconds);
}

#[test]
fn a_request_whose_agent_a_queue_holds_is_told_so_and_gets_no_second_one() {
    let plan = Watch::new(quick()).look(&seen(&fresh(Progress::Queued), vec![]));
    assert!(plan.starts.is_empty());
    assert_eq!(*verdict(&plan, 1), Verdict::HeldByQueue { run: "r1".into() });
}

#[test]
fn the_next_attempt_starts_with_the_end_of_the_one_before_and_not_earlier() {
    let mut watch = Watch::new(quick());
    let observed = seen(&fresh(Progress::Pending), vec![]);
    loop {
        let plan = watch.look(&observed);
        assert_eq!(plan.starts.len(), plan.stops.len(), "{plan:?}");
        if let [start] = &plan.starts[..] {
            assert_eq!(start.attempt, 2);
            return;
        }
    }
}

#[test]
fn an_agent_that_took_its_registration_back_keeps_its_run_until_that_ends() {
    let mut watch = Watch::new(quick());
    let run = fresh(Progress::Running);
    for _ in 0..200 {
        assert!(watch.look(&seen(&run, vec![busy()])).stops.is_empty());
    }
    let seconds = watch.spares(&seen(&run, vec![]));
    assert!((3600..3700).contains(&seconds), "it is given up when it hangs: {seconds} s");
}

#[test]
fn an_agent_that_is_gone_serves_nobody_after_a_minute() {
    let mut watch = Watch::new(quick());
    let run = fresh(Progress::Running);
    watch.look(&seen(&run, vec![agent(1, "r1")]));
    let mut gone_for = 0;
    while watch.look(&seen(&run, vec![])).starts.is_empty() {
        gone_for += 5;
    }
    assert!((55..=60).contains(&gone_for), "{gone_for}");
}

#[test]
fn the_mark_of_a_busy_pod_is_evidence_for_a_new_process() {
    let run = Run { created_at: at(-4000), was_busy: true, ..starting("r1", 1) };
    let seconds = Watch::new(quick()).spares(&seen(&run, vec![]));
    assert!(seconds >= 3600, "{seconds}");
}

#[test]
fn a_container_whose_agent_never_registers_is_given_up_where_the_list_can_be_trusted() {
    let run = fresh(Progress::Running);
    let seconds = Watch::new(quick()).spares(&seen(&run, vec![]));
    assert!((120..140).contains(&seconds), "{seconds}");

    let mut watch = Watch::new(quick());
    let mut decided = Plan::default();
    while decided.stops.is_empty() {
        decided = watch.look(&seen(&run, vec![]));
    }
    assert_eq!(decided.stops[0].reason, StopReason::NeverRegistered);

    // Our placeholder has gone from the list, and so may others of ours have.
    let without = snapshot(vec![request(1, &[])], vec![run.clone()], vec![agent(5, "theirs"), agent(6, "theirs-2")]);
    assert_eq!(Watch::new(quick()).spares(&without), 5400);
}

#[test]
fn a_waiting_request_is_not_forgotten_for_a_run_that_cannot_be_ended() {
    let mut watch = Watch::new(quick());
    let run = fresh(Progress::Running);
    let mut without = seen(&run, vec![]);
    without.pools[0].agents = Some(vec![]);
    let mut waited = 0;
    while watch.look(&without).starts.is_empty() {
        waited += 5;
    }
    assert!((175..=185).contains(&waited), "{waited}");
}

#[test]
fn what_one_look_alone_shows_ends_nothing() {
    let disabled = Agent { enabled: false, ..agent(1, "r1") };
    let run = fresh(Progress::Running);
    let mut watch = Watch::new(quick());
    let both = [seen(&run, vec![disabled]), seen(&run, vec![agent(1, "r1")])];
    for _ in 0..20 {
        for observed in &both {
            assert!(watch.look(observed).stops.is_empty());
        }
    }
    // The same answer twice within a second is one look.
    let mut memory = Memory::default();
    assert!(look(&mut memory, &quick(), &both[0], SECOND).stops.is_empty());
    assert!(look(&mut memory, &quick(), &both[0], SECOND * 3 / 2).stops.is_empty());
    assert_eq!(look(&mut memory, &quick(), &both[0], SECOND * 5 / 2).stops.len(), 1);
}

#[test]
fn a_list_that_shrinks_by_half_ends_and_removes_nothing_for_a_while() {
    let mut watch = Watch::new(quick());
    let ended: Vec<Run> =
        (2..6).map(|id| Run { phase: RunPhase::Succeeded(at(-1)), ..starting(&format!("r{id}"), id) }).collect();
    let left: Vec<Agent> = (2..6).map(|id| Agent { online: false, ..agent(id, &format!("r{id}")) }).collect();
    let disabled = Agent { enabled: false, ..agent(1, "r1") };
    let run = fresh(Progress::Running);
    let observed = |agents: Vec<Agent>| {
        let mut observed = seen(&run, agents);
        observed.pools[0].runs.extend(ended.iter().cloned());
        observed
    };
    let removed =
        |plan: &Plan| plan.agents.iter().filter(|action| matches!(action.change, AgentChange::Deregister(..))).count();
    let many: Vec<Agent> = left.iter().cloned().chain([agent(1, "r1")]).collect();
    assert_eq!(removed(&watch.look(&observed(many))), 4);
    // Of seven in the list three are left.
    let mut spared = 0;
    loop {
        let mut few = observed(vec![disabled.clone()]);
        few.pools[0].agents.as_mut().unwrap().extend(left.first().cloned());
        few.pools[0].agents.as_mut().unwrap().retain(|agent| agent.name != "old-box");
        let plan = watch.look(&few);
        if removed(&plan) > 0 {
            break;
        }
        assert!(plan.stops.is_empty(), "{plan:?}");
        spared += 5;
    }
    assert!((15..=20).contains(&spared), "{spared}");
}

#[test]
fn a_request_that_a_shortened_list_leaves_out_ends_no_run_that_waits_for_its_place() {
    let mut watch = Watch::new(quick());
    let runs: Vec<Run> = (1..=4).map(|id| Run { name: format!("r{id}"), ..starting("", id) }).collect();
    let runs: Vec<Run> =
        runs.into_iter().map(|run| Run { progress: Progress::Queued, runs_since: None, ..run }).collect();
    let observed = |requests: i64| {
        snapshot((1..=requests).map(|id| request(id, &[])).collect(), runs.clone(), vec![placeholder()])
    };
    watch.look(&observed(4));
    for _ in 0..2 {
        assert!(watch.look(&observed(0)).stops.is_empty());
    }
    assert!(watch.look(&observed(4)).stops.is_empty());
    watch.look(&observed(0));
    let seconds = watch.spares(&observed(0));
    assert!((15..=25).contains(&seconds), "but when it stays so: {seconds}");
}

#[test]
fn a_kubelet_whose_clock_is_behind_cuts_no_sidecar_short() {
    let mut watch = Watch::new(quick());
    let run = fresh(Progress::Running);
    watch.look(&seen(&run, vec![busy()]));
    let sidecar = Run { agent_ended_at: Some(at(-600)), ..run };
    let seconds = watch.spares(&seen(&sidecar, vec![]));
    assert!((30..=40).contains(&seconds), "{seconds}");
}
