//! How long one plan takes, and how that grows: `plan` at 100, 1,000 and 10,000 waiting job requests, with half as many
//! agents. The numbers are criterion's; after them stands how much longer ten times as much takes, beside what n log n
//! would be. Exit code 1 when the largest one takes 10 ms or more, or when something grows faster.
//!
//!     cargo bench --bench plan

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "benchmarks fail by panicking")]
#![allow(clippy::print_stdout, reason = "a benchmark's output is its result")]

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion};
use jiff::Timestamp;
use kubectl_ado::core::{
    Agent, AgentId, AgentRef, AgentTemplate, Capabilities, Demand, Installation, JobRequest, Memory, Policy,
    PoolPolicy, PoolSnapshot, Progress, Purpose, RequestId, Run, RunPhase, Scale, Snapshot, Stage, Timeouts, plan,
    run_name,
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// Waiting job requests; there are half as many agents.
const SIZES: [usize; 3] = [100, 1_000, 10_000];

/// What the largest plan may take.
const LIMIT: Duration = Duration::from_millis(10);

/// Timings vary by as much from one run to the next.
const TOLERANCE: f64 = 1.15;

/// Agent templates of the pool: a version of Java or Node each, and one that takes the rest.
const TEMPLATES: usize = 16;

/// Environment variables that each agent reports besides what its template offers.
const VARIABLES: usize = 40;

/// Whether all that wait get an agent, or one in ten until the pool's maximum is reached: then what is left is looked at
/// once more.
#[derive(Clone, Copy)]
enum Room {
    Enough,
    Little,
}

impl Room {
    const ALL: [Self; 2] = [Self::Enough, Self::Little];

    fn name(self) -> &'static str {
        match self {
            Self::Enough => "without a maximum",
            Self::Little => "up to a maximum",
        }
    }
}

fn offer(template: usize) -> Capabilities {
    let tool = if template.is_multiple_of(2) { "java" } else { "node" };
    let mut offer: Capabilities = [("docker", "/usr/bin/docker"), ("Agent.OS", "Linux")].into_iter().collect();
    offer.set(tool, &format!("{}.0.2", 8 + template));
    if template.is_multiple_of(4) {
        offer.set("gpu", "true");
    }
    offer
}

fn template(number: usize) -> AgentTemplate {
    AgentTemplate {
        name: format!("template-{number}"),
        name_prefix: "agent-job".into(),
        revision: "r1".into(),
        recipe_reason: None,
        registration_pending: None,
        recipe: kubectl_ado::core::Recipe::default(),
        capabilities: (number + 1 < TEMPLATES).then(|| offer(number)),
        ignore_demands: Vec::new(),
        scale: Scale::default(),
        schedules: Vec::new(),
        timeouts: Timeouts::default(),
    }
}

fn policy(requests: usize, room: Room) -> Policy {
    let max_agents = match room {
        Room::Enough => None,
        Room::Little => Some(u32::try_from(requests / 2).unwrap()),
    };
    let pools = vec![PoolPolicy {
        name: "A".into(),
        max_agents,
        templates: (0..TEMPLATES).map(template).collect(),
        paused: None,
        removed: false,
    }];
    Policy {
        installation: Installation::new("benchmark"),
        organization: "https://dev.azure.com/contoso".into(),
        max_agents: None,
        timeouts: Timeouts::default(),
        idle_timeout: Duration::from_mins(10),
        pools,
        identity: "me".into(),
        retire: false,
    }
}

/// The sets of demands that the pipelines of an organization ask for.
fn demands(number: usize) -> Vec<Demand> {
    let texts: Vec<String> = match number % 10 {
        0..=2 => vec![],
        3 => vec!["docker".into()],
        4 => vec!["docker".into(), "gpu -equals true".into()],
        5 => vec!["java".into(), "Agent.OS -equals Linux".into()],
        6 => vec![format!("java -gtVersion {}.0", 8 + number / 10 % 12)],
        7 => vec![format!("node -gtVersion {}.0", 8 + number / 10 % 12), "docker".into()],
        8 => vec!["Agent.Version -gtVersion 3.220.0".into()],
        _ => vec!["kvm".into()],
    };
    texts.iter().map(|text| Demand::parse(text)).collect()
}

fn request(id: usize, stage: Stage) -> JobRequest {
    let queued_at = NOW - Duration::from_millis(7 * (id as u64 * 7_919 % 100_000));
    JobRequest {
        id: RequestId(id as i64),
        queued_at: Some(queued_at),
        received_at: None,
        stage,
        demands: demands(id),
        plan_type: Some("Build".into()),
        parallelism_tag: Some("Private".into()),
        pipeline: Some(format!("pipeline {}", id % 50)),
        pipeline_run: Some(format!("20260101.{id}")),
        url: None,
        priority: 0,
    }
}

fn run(policy: &Policy, number: usize) -> Run {
    let (pool, template) = (&policy.pools[0], &policy.pools[0].templates[number % TEMPLATES]);
    let purpose = Purpose::Request(RequestId(number as i64));
    let name =
        run_name("agent-job", &policy.installation, &policy.organization, &pool.name, &template.name, purpose, 1);
    Run {
        name,
        pool: pool.name.clone(),
        template: template.name.clone(),
        purpose,
        attempt: 1,
        created_at: NOW - Duration::from_secs(60),
        phase: RunPhase::Live,
        revision: template.revision.clone(),
        progress: Progress::Running,
        progress_since: None,
        runs_since: Some(NOW - Duration::from_secs(50)),
        trouble: None,
        agent_ended_at: None,
        recipe: kubectl_ado::core::Recipe::default(),
        held: None,
        was_busy: false,
        lease: None,
    }
}

fn agent(number: usize, name: &str) -> Agent {
    let mut capabilities = offer(number % TEMPLATES);
    for variable in 0..VARIABLES {
        capabilities.set(&format!("VARIABLE_{variable}"), "/usr/share/some/folder");
    }
    capabilities.set("Agent.Name", name);
    capabilities.set("Agent.Version", "4.260.0");
    Agent {
        id: AgentId(number as i64),
        name: name.into(),
        enabled: true,
        online: true,
        assigned: None,
        capabilities,
        created_at: Some(NOW - Duration::from_secs(50)),
        status_changed_at: Some(NOW - Duration::from_secs(50)),
        last_finished_at: None,
    }
}

/// Of ten agents four are busy, two idle, two starting, and two are somebody else's. Others' are offline as well.
fn snapshot(policy: &Policy, waiting: usize) -> Snapshot {
    let mut observed = PoolSnapshot { pool: "A".into(), runs: Vec::new(), requests: Vec::new(), agents: None };
    let mut agents = Vec::new();
    for number in 0..waiting / 2 {
        let id = waiting + number;
        let run = run(policy, id);
        match number % 10 {
            0..=3 => {
                let busy = Agent { assigned: Some(RequestId(id as i64)), enabled: false, ..agent(id, &run.name) };
                let by = AgentRef { id: busy.id, name: busy.name.clone() };
                observed.requests.push(request(id, Stage::Running(Some(by))));
                agents.push(busy);
                observed.runs.push(run);
            }
            4 | 5 => {
                agents.push(agent(id, &run.name));
                observed.runs.push(run);
            }
            6 | 7 => observed.runs.push(Run { progress: Progress::Placed, ..run }),
            _ => agents.push(Agent { online: number % 20 > 9, ..agent(id, &format!("build-box-{id}")) }),
        }
    }
    observed.requests.extend((0..waiting).map(|id| request(id, Stage::Waiting)));
    observed.agents = Some(agents);
    Snapshot { pools: vec![observed], ..Snapshot::default() }
}

/// One who has looked before.
fn remembering(policy: &Policy, observed: &Snapshot) -> Memory {
    let mut memory = Memory::default();
    let decided = plan(policy, observed, &memory, NOW);
    memory.remember(policy, observed, &decided);
    memory
}

fn by_criterion(criterion: &mut Criterion) {
    for room in Room::ALL {
        let mut group = criterion.benchmark_group(format!("plan {}", room.name()));
        for size in SIZES {
            let policy = policy(size, room);
            let observed = snapshot(&policy, size);
            group.bench_with_input(BenchmarkId::from_parameter(size), &observed, |bencher, observed| {
                let memory = remembering(&policy, observed);
                bencher.iter(|| plan(&policy, observed, &memory, NOW));
            });
        }
        group.finish();
    }
}

/// How long this thread has run: on a busy machine a clock would count what others do. The kernel adds it up every few
/// milliseconds, so that only many plans together are told exactly.
fn has_run() -> Option<Duration> {
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(figures.split_whitespace().next()?.parse().ok()?))
}

/// The median of several batches, for one plan.
fn median_time(size: usize, room: Room) -> Duration {
    let policy = policy(size, room);
    let observed = snapshot(&policy, size);
    let memory = remembering(&policy, &observed);
    let plans = u32::try_from(100_000 / size).unwrap();
    let mut times = [(); 5].map(|()| {
        let (began, had_run) = (Instant::now(), has_run());
        for _ in 0..plans {
            black_box(plan(&policy, black_box(&observed), &memory, NOW));
        }
        let took = had_run.and_then(|before| Some(has_run()? - before));
        took.unwrap_or_else(|| began.elapsed()) / plans
    });
    times.sort_unstable();
    times[times.len() / 2]
}

/// Prints how times grow; whether all is as it should be.
fn growth() -> bool {
    let mut all_well = true;
    for room in Room::ALL {
        println!("\nplan {}", room.name());
        let times = SIZES.map(|size| median_time(size, room));
        for (size, time) in SIZES.iter().zip(&times) {
            println!("  {size:>6} requests, {:>5} agents: {:>7.3} ms", size / 2, time.as_secs_f64() * 1e3);
        }
        for (sizes, times) in SIZES.windows(2).zip(times.windows(2)) {
            let [n, many] = [sizes[0] as f64, sizes[1] as f64];
            let (ratio, n_log_n) = (times[1].as_secs_f64() / times[0].as_secs_f64(), many * many.ln() / (n * n.ln()));
            println!("  10x requests: {ratio:.1}x time (n log n would be {n_log_n:.1}x)");
            all_well &= ratio <= n_log_n * TOLERANCE;
        }
        all_well &= times[2] < LIMIT;
    }
    all_well
}

fn main() -> ExitCode {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    by_criterion(&mut criterion);
    criterion.final_summary();
    // `cargo test --benches` only sees whether it runs, and a profile is of nothing else.
    if std::env::args().any(|argument| ["--test", "--list", "--profile-time"].contains(&argument.as_str())) {
        return ExitCode::SUCCESS;
    }
    if growth() {
        println!("\nbelow {} ms, and no faster than n log n", LIMIT.as_millis());
        ExitCode::SUCCESS
    } else {
        println!("\nerror: {} ms or more, or faster than n log n", LIMIT.as_millis());
        ExitCode::FAILURE
    }
}
