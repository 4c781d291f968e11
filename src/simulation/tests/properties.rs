//! What holds for ours in any workload.

use proptest::prelude::*;

use super::*;

fn workload() -> impl Strategy<Value = Workload> {
    let demands = prop::sample::select(vec![
        vec![],
        vec!["docker".to_owned()],
        vec!["docker".to_owned(), "Agent.OS -equals linux".to_owned()],
        vec!["cuda -gtVersion 11".to_owned()],
        vec!["cuda -gtVersion 12.4".to_owned(), "Agent.Version -gtVersion 2.163.1".to_owned()],
    ]);
    let job = (0u64..1_200_000, demands, 0u64..400_000).prop_map(|(at, demands, duration)| Job {
        at: Duration::from_millis(at),
        demands,
        duration: Duration::from_millis(duration),
    });
    prop::collection::vec(job, 1..40).prop_map(Workload::new)
}

prop_compose! {
    fn settings()(
        pod_start in 0u64..60_000,
        more in 0u64..120_000,
        poll in prop::option::of(100u64..10_000),
        max_agents in prop::option::of(1u32..20),
        restarts in prop::collection::vec(0u64..1_500_000, 0..4),
        seed: u64,
    ) -> Settings {
        Settings {
            pod_start: Duration::from_millis(pod_start),
            cold_start: Duration::from_millis(pod_start + more),
            poll: poll.map(Duration::from_millis),
            max_agents,
            restarts: restarts.into_iter().map(Duration::from_millis).collect(),
            seed,
            ..Settings::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn each_job_is_received_by_an_agent_of_its_own(workload in workload(), settings in settings()) {
        let figures = ours(&workload, &settings);
        prop_assert_eq!(figures.unserved, 0);
        prop_assert_eq!(figures.agents_started, workload.jobs().len());
        prop_assert_eq!(figures.surplus, 0);
        prop_assert!(settings.max_agents.is_none_or(|max| figures.peak_agents <= max as usize));
        if settings.max_agents.is_none() {
            let poll = settings.poll.unwrap_or(Duration::from_secs(1));
            let most = (settings.cold_start + poll).as_secs_f64() + 0.001;
            prop_assert!(waits(&figures).max <= most, "{:?}", figures);
        }
    }

    #[test]
    fn whatever_goes_wrong_each_job_that_is_not_cancelled_is_served(
        workload in workload(),
        settings in settings(),
        failure_rate in 0.0..0.4,
        cancel_rate in 0.0..0.5,
    ) {
        let settings = Settings { failure_rate, cancel_rate, ..settings };
        let figures = ours(&workload, &settings);
        prop_assert_eq!(figures.unserved, 0);
        prop_assert!(figures.surplus <= figures.cancelled, "{:?}", figures);
        prop_assert!(settings.max_agents.is_none_or(|max| figures.peak_agents <= max as usize));
        prop_assert_eq!(&ours(&workload, &settings), &figures);
    }
}
