//! Restarts, failures, cancellations, limits, demands.

use super::*;

fn after(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_restart_changes_nothing_for_ours() {
    for scenario in [Scenario::A, Scenario::B, Scenario::C, Scenario::D] {
        let workload = Workload::scenario(scenario);
        let undisturbed = ours(&workload, &Settings::default());
        // Before each poll of the first minutes.
        let restarts = (0..500).map(after).collect();
        let settings = Settings { restarts, ..Settings::default() };
        assert_eq!(ours(&workload, &settings), undisturbed, "{scenario:?}");
    }
}

#[test]
fn a_restart_has_the_one_that_counts_in_memory_start_everything_again() {
    let settings = Settings { restarts: vec![after(15)], ..Settings::default() };
    let figures = all(&Workload::scenario(Scenario::A), &settings);
    let orchestrator = of(&figures, "ado-agent-orchestrator");
    assert_eq!((orchestrator.agents_started, orchestrator.surplus), (40, 20));
    assert_eq!(of(&figures, "keda-default").agents_started, 20);
    assert_eq!(of(&figures, "go-operator").agents_started, 20);
}

#[test]
fn a_seed_gives_the_same_figures_again_and_another_one_others() {
    let settings = |seed| Settings { seed, failure_rate: 0.2, cancel_rate: 0.2, ..Settings::default() };
    let workload = Workload::scenario(Scenario::C);
    assert_eq!(all(&workload, &settings(7)), all(&workload, &settings(7)));
    assert_ne!(all(&workload, &settings(7)), all(&workload, &settings(8)));
}

#[test]
fn agents_that_die_on_the_way_are_replaced() {
    let settings = Settings { failure_rate: 0.3, ..Settings::default() };
    let figures = ours(&Workload::scenario(Scenario::D), &settings);
    assert!(figures.failed_starts > 10, "{figures:?}");
    assert_eq!((figures.unserved, figures.surplus), (0, 0), "{figures:?}");
    assert_eq!(figures.agents_started, figures.jobs + figures.failed_starts, "{figures:?}");
}

#[test]
fn an_agent_that_can_never_start_ends_the_simulation_and_shows() {
    let settings = Settings { failure_rate: 1.0, ..Settings::default() };
    for figures in all(&burst(2), &settings) {
        assert_eq!(figures.unserved, 2, "{figures:?}");
        // The last ones are still starting.
        assert_eq!(figures.agents_started, figures.failed_starts + figures.surplus, "{figures:?}");
        assert!(figures.surplus <= 2 || figures.policy != "ours", "{figures:?}");
        // They have waited until the end.
        assert_eq!(waits(&figures).p50, STARVED.as_secs_f64(), "{figures:?}");
    }
}

#[test]
fn cancelled_jobs_are_counted_alike_for_all() {
    let settings = Settings { cancel_rate: 0.5, ..Settings::default() };
    let figures = all(&Workload::scenario(Scenario::D), &settings);
    assert!((30..70).contains(&figures[0].cancelled), "{figures:?}");
    assert!(figures.iter().all(|other| other.cancelled == figures[0].cancelled && other.unserved == 0), "{figures:?}");
}

#[test]
fn everything_cancelled_before_it_is_received_leaves_no_waits() {
    let settings = Settings { cancel_rate: 1.0, cold_start: after(100), pod_start: after(100), ..Settings::default() };
    let workload = Workload::new(vec![job(0.0, &[], 1)]);
    let with_seed = |seed| ours(&workload, &Settings { seed, ..settings.clone() });
    let unreceived = (1..50).map(with_seed).find(|figures| figures.wait_seconds.is_none()).unwrap();
    assert_eq!((unreceived.cancelled, unreceived.unserved), (1, 0));
}

#[test]
fn nobody_who_knows_a_maximum_exceeds_it() {
    let settings = Settings { max_agents: Some(7), ..Settings::default() };
    for figures in all(&Workload::scenario(Scenario::D), &settings) {
        assert!(figures.peak_agents <= 7 || figures.policy == "ado-agent-orchestrator", "{figures:?}");
        assert_eq!(figures.unserved, 0, "{figures:?}");
    }
}

#[test]
fn what_jobs_demand_is_offered() {
    let demands: [&[&str]; 4] =
        [&[], &["docker"], &["Agent.Version -gtVersion 2.163.1"], &["cuda -gtVersion 12.4", "docker"]];
    let workload = Workload::new(demands.map(|demands| job(0.0, demands, 60)).to_vec());
    for figures in all(&workload, &Settings::default()) {
        assert_eq!(figures.unserved, 0, "{figures:?}");
    }
    let figures = ours(&workload, &Settings::default());
    assert_eq!((figures.agents_started, figures.surplus), (4, 0));
}

#[test]
fn demands_that_contradict_each_other_are_served_by_those_who_know_templates() {
    let job = |system: &str| job(0.0, &[format!("Agent.OS -equals {system}").as_str()], 60);
    let workload = Workload::new(vec![job("Linux"), job("Windows_NT"), job("Windows_NT")]);
    let figures = all(&workload, &Settings::default());
    for policy in ["ours", "keda-default", "go-operator"] {
        assert_eq!((of(&figures, policy).agents_started, of(&figures, policy).unserved), (3, 0), "{policy}");
    }
    // It knows one template.
    assert_eq!(of(&figures, "ado-agent-orchestrator").unserved, 2);
}

#[test]
fn a_job_for_one_certain_agent_fails_at_once_as_in_azure_devops() {
    let workload = Workload::new(vec![job(0.0, &["Agent.Name -equals build-7"], 60), job(0.0, &[], 60)]);
    let figures = ours(&workload, &Settings::default());
    assert_eq!((figures.unserved, figures.agents_started), (1, 1));
}

#[test]
fn slow_agents_are_waited_for() {
    let settings = Settings { cold_start: after(900), pod_start: after(600), ..Settings::default() };
    let figures = ours(&burst(5), &settings);
    assert_eq!((figures.agents_started, waits(&figures).max), (5, 900.0));
}
