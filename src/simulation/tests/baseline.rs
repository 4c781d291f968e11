//! The four scenarios. The others' figures come from an independent model of the same descriptions; its moments of
//! looking differ from ours, hence the bounds.

use std::ops::RangeInclusive;

use super::*;

#[test]
fn ours_starts_one_agent_for_each_job_and_waits_for_nothing_but_the_agent() {
    for (scenario, jobs, peak) in
        [(Scenario::A, 20, 20), (Scenario::B, 40, 40), (Scenario::C, 60, 17), (Scenario::D, 100, 100)]
    {
        let figures = ours(&Workload::scenario(scenario), &Settings::default());
        let expected = Figures {
            policy: "ours",
            jobs,
            agents_started: jobs,
            surplus: 0,
            idle_agent_seconds: 0.0,
            peak_agents: peak,
            wait_seconds: Some(Waits { p50: 40.0, p95: 40.0, max: 40.0 }),
            failed_starts: 0,
            cancelled: 0,
            unserved: 0,
        };
        assert_eq!(figures, expected, "{scenario:?}");
    }
}

#[test]
fn a_job_that_comes_between_two_polls_waits_one_poll_longer_at_most() {
    let trickle = Workload::new((0..60).map(|number| job(f64::from(number) * 19.37 + 0.123, &[], 300)).collect());
    let figures = ours(&trickle, &Settings::default());
    assert_eq!((figures.agents_started, figures.surplus), (60, 0));
    assert!(waits(&figures).max <= 42.0, "{figures:?}");
}

struct Expected {
    policy: &'static str,
    started: RangeInclusive<usize>,
    surplus: RangeInclusive<usize>,
    p50: RangeInclusive<f64>,
    max: RangeInclusive<f64>,
}

fn check(scenario: Scenario, expected: &[Expected]) {
    let figures = all(&Workload::scenario(scenario), &Settings::default());
    for Expected { policy, started, surplus, p50, max } in expected {
        let seen = of(&figures, policy);
        let Waits { p50: half, max: longest, .. } = waits(seen);
        let fits = started.contains(&seen.agents_started) && surplus.contains(&seen.surplus);
        assert!(fits && p50.contains(&half) && max.contains(&longest), "{scenario:?}: {seen:?}");
        assert_eq!(seen.unserved, 0, "{scenario:?}: {policy}");
    }
}

#[test]
fn a_burst_has_accurate_and_eager_start_twice_as_many_agents() {
    for (scenario, jobs) in [(Scenario::A, 20), (Scenario::D, 100)] {
        let right =
            |policy| Expected { policy, started: jobs..=jobs, surplus: 0..=0, p50: 40.0..=42.0, max: 40.0..=45.0 };
        let double = |policy| Expected {
            policy,
            started: 2 * jobs..=2 * jobs,
            surplus: jobs..=jobs,
            p50: 40.0..=42.0,
            max: 40.0..=45.0,
        };
        let right = ["ado-agent-orchestrator", "keda-default", "go-operator"].map(right);
        check(scenario, &right);
        check(scenario, &["keda-accurate", "keda-eager"].map(double));
    }
}

#[test]
fn a_second_burst_starves_where_busy_agents_count_as_supply() {
    let after = |policy, max| Expected { policy, started: 40..=40, surplus: 0..=0, p50: 0.0..=45.0, max };
    check(
        Scenario::B,
        &[
            after("ado-agent-orchestrator", 500.0..=540.0),
            after("keda-default", 270.0..=320.0),
            after("keda-accurate", 40.0..=50.0),
            after("go-operator", 40.0..=45.0),
        ],
    );
}

#[test]
fn a_trickle_starves_there_too() {
    let trickle = |policy, p50, max| Expected { policy, started: 60..=60, surplus: 0..=0, p50, max };
    check(
        Scenario::C,
        &[
            trickle("ado-agent-orchestrator", 220.0..=280.0, 580.0..=660.0),
            trickle("keda-default", 250.0..=320.0, 700.0..=1000.0),
            trickle("keda-accurate", 15.0..=30.0, 38.0..=50.0),
            trickle("go-operator", 38.0..=45.0, 38.0..=55.0),
        ],
    );
}

#[test]
fn a_poll_that_is_given_holds_for_all() {
    let settings = Settings { poll: Some(Duration::from_secs(1)), ..Settings::default() };
    let figures = all(&Workload::scenario(Scenario::A), &settings);
    // Twenty more when the first are Running, and when the second are; twenty more each second until the first are online.
    assert_eq!(of(&figures, "keda-accurate").surplus, 40);
    assert_eq!(of(&figures, "keda-eager").agents_started, 800);
}
