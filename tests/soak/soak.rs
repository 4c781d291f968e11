//! The run: everything is stepped a few times a second, and written down each minute.

use std::{path::PathBuf, time::Duration};

use kubectl_ado::sandbox::{AgentSpec, Phase, Rules, Sandbox, Settings, state::Pool};
use serde_json::json;
use tokio::{
    net::TcpListener,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    agents::{Agents, scripts},
    checks::Checks,
    faults::Faults,
    log::Log,
    memory::{Memory, Usage},
    serve::{POOLS, Serve},
    workload::Workload,
};

const STEP: Duration = Duration::from_millis(250);
const MEASURE_EVERY: Duration = Duration::from_secs(5);
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// How long all jobs may take to end when no new ones come: the longest job, and a start.
const DRAIN: Duration = Duration::from_secs(180);

pub(crate) struct Plan {
    pub(crate) length: Duration,
    pub(crate) seed: u64,
    pub(crate) faults: bool,
    pub(crate) log: Option<PathBuf>,
}

pub(crate) struct Verdict {
    pub(crate) passed: bool,
    pub(crate) jobs_finished: usize,
    pub(crate) text: String,
}

pub(crate) async fn run(plan: Plan) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = Rules {
        first_lease: Duration::from_secs(30),
        lease: Duration::from_secs(60),
        offline_after: Duration::from_secs(10),
        ..Rules::default()
    };
    let agent_scripts = Some(scripts(listener.local_addr().unwrap().port()));
    let settings = Settings { rules, agent_scripts, ..Settings::default() };
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), settings).unwrap();
    let pools = POOLS.map(|pool| {
        let id = sandbox.add_pool(pool.name).unwrap();
        // Without one Azure DevOps fails each job at once, until serve has registered its own.
        let mut first = AgentSpec::named("first").disabled();
        first = pool.capability.map_or(first.clone(), |name| first.with(name, "1"));
        sandbox.add_agent(id, first).unwrap();
        id
    });
    let serve = Serve::start(&sandbox);
    let agents = Agents::new();
    let played = tokio::spawn(agents.clone().play(listener, sandbox.clone(), serve.root()));
    let soak = Soak {
        log: Log::open(plan.log.as_deref()),
        workload: Workload::new(plan.seed, pools.to_vec()),
        faults: Faults::new(plan.seed),
        checks: Checks::default(),
        memory: Memory::default(),
        told: 0,
        sandbox,
        serve,
        agents,
        plan,
    };
    let verdict = soak.run().await;
    played.abort();
    verdict
}

struct Soak {
    plan: Plan,
    log: Log,
    sandbox: Sandbox,
    serve: Serve,
    agents: Agents,
    workload: Workload,
    faults: Faults,
    checks: Checks,
    memory: Memory,
    /// How many violations are in the log.
    told: usize,
}

impl Soak {
    async fn run(mut self) -> Verdict {
        self.log.line(&json!({ "started": jiff::Timestamp::now().to_string(), "seconds": self.plan.length.as_secs(),
            "seed": self.plan.seed, "faults": self.plan.faults, "process": self.serve.id() }));
        let started = Instant::now();
        let mut ticks = interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut measure, mut write) = (Duration::ZERO, Duration::ZERO, WRITE_EVERY);
        loop {
            ticks.tick().await;
            let now = started.elapsed();
            // On a machine that was busy with something else, nobody had the chance to do anything.
            let step = (now - last).min(STEP * 4);
            last = now;
            if now < self.plan.length {
                self.workload.step(&self.sandbox, now, step);
                if self.plan.faults
                    && let Some(fault) = self.faults.step(&self.sandbox, now)
                {
                    self.log.line(&json!({ "second": now.as_secs(), "fault": fault }));
                }
            } else if self.faults.current().is_some() {
                self.faults.end(&self.sandbox, now);
            }
            {
                let mut seen = self.agents.seen.lock().unwrap();
                self.checks.step(&self.sandbox, &self.faults, &mut seen, now, step);
            }
            if now >= measure {
                measure += MEASURE_EVERY;
                if let Some(usage) = Usage::of(self.serve.id()).filter(|_| now < self.plan.length) {
                    self.memory.add(usage.resident_kib);
                }
                if let Some(status) = self.serve.status() {
                    self.checks.told(&status, &self.faults, now);
                }
            }
            self.tell_violations(now);
            if now >= write {
                write += WRITE_EVERY;
                self.write(now);
            }
            if self.serve.has_ended() {
                self.checks.violations.push("serve has ended".to_owned());
                break;
            }
            if now >= self.plan.length && (self.is_drained() || now > self.plan.length + DRAIN) {
                break;
            }
        }
        self.verdict(started.elapsed())
    }

    fn tell_violations(&mut self, now: Duration) {
        for violation in &self.checks.violations[self.told..] {
            self.log.line(&json!({ "second": now.as_secs(), "violation": violation }));
        }
        self.told = self.checks.violations.len();
    }

    fn is_drained(&self) -> bool {
        self.sandbox.see(|state| state.unfinished().next().is_none())
    }

    fn write(&mut self, now: Duration) {
        let usage = Usage::of(self.serve.id()).unwrap_or_default();
        let (waiting, held, online, registered) = self.sandbox.see(|state| {
            let waiting = state.unfinished().filter(|request| request.phase() == Phase::Queued).count();
            let registered: usize = state.pools().map(Pool::size).sum();
            (waiting, state.unfinished().count() - waiting, state.online_agents(), registered)
        });
        let started = self.agents.seen.lock().unwrap().started;
        self.log.line(&json!({
            "second": now.as_secs(),
            "rssKib": usage.resident_kib,
            "openFiles": usage.open_files,
            "cpuSeconds": usage.cpu.as_secs(),
            "ownCpuSeconds": Usage::of(std::process::id()).unwrap_or_default().cpu.as_secs(),
            "jobsQueued": self.workload.queued,
            "waiting": waiting,
            "running": held,
            "agentsOnline": online,
            "agentsRegistered": registered,
            "agentsStarted": started,
            "runsLive": self.serve.live_runs(),
            "faults": self.faults.count(),
            "longestWaitSeconds": self.checks.longest_wait.as_secs(),
            "violations": self.checks.violations.len(),
        }));
    }

    fn verdict(mut self, now: Duration) -> Verdict {
        let unfinished = self.sandbox.see(|state| state.unfinished().count());
        if unfinished > 0 {
            self.checks.violations.push(format!("alive: {unfinished} requests are not finished at the end"));
        }
        let failed = self.sandbox.requests().iter().filter(|request| request.was_unservable()).count();
        if failed > 0 {
            self.checks
                .violations
                .push(format!("{failed} jobs failed because no agent was registered that satisfies them"));
        }
        if !self.memory.is_flat() {
            self.checks.violations.push(format!("memory grows: {:?} KiB", self.memory.quarters()));
        }
        self.write(now);
        self.tell_violations(now);
        let jobs_finished = self.sandbox.requests().iter().filter(|request| request.finished_at.is_some()).count();
        let passed = self.checks.violations.is_empty();
        let verdict = json!({
            "verdict": if passed { "passed" } else { "failed" },
            "seconds": now.as_secs(),
            "jobsFinished": jobs_finished,
            "faults": self.faults.count(),
            "rssKibFirstAndLastQuarter": self.memory.quarters(),
            "longestWaitSeconds": self.checks.longest_wait.as_secs(),
            "violations": self.checks.violations.len(),
            "first": self.checks.violations.iter().take(20).collect::<Vec<_>>(),
        });
        self.log.line(&verdict);
        let keep = self.plan.log.as_ref().map(|path| path.with_extension("serve.log"));
        self.serve.stop(keep.as_deref());
        let text = if passed {
            verdict.to_string()
        } else {
            let log = std::fs::read_to_string(self.serve.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("{verdict:#}\nserve said last:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        Verdict { passed, jobs_finished, text }
    }
}
