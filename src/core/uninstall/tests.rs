//! Each state by itself, and walks through a model of a cluster in which everything can happen between two steps.

use std::collections::BTreeSet;

use super::*;

const SERVES: Seen = Seen {
    anything: true,
    deployment: true,
    pods: true,
    live: 0,
    asked: false,
    word: Word::Reports { busy: 0, retired: false },
};
const NOTHING_DONE: Progress =
    Progress { asked: false, saw_asked: false, ended_jobs: false, cannot_ask: false, stopped: false, late: false };
const MODES: [Mode; 3] = [Mode::Careful, Mode::Drain, Mode::Force];

#[test]
fn a_silent_orchestrator_does_not_let_a_drain_pass_by_a_live_job() {
    let seen = Seen { live: 1, asked: true, word: Word::Silent, ..SERVES };
    let done = Progress { asked: true, saw_asked: true, ..NOTHING_DONE };
    assert_eq!(decide(Mode::Drain, &seen, &done), Step::Wait(Wait::Agents(1)));
    let late = Progress { late: true, ..done };
    assert_eq!(decide(Mode::Drain, &seen, &late), Step::Stop(Stop::TimedOut { live: 1 }));
    assert_eq!(decide(Mode::Drain, &Seen { live: 0, ..seen }, &done), Step::StopOrchestrator);
    assert_eq!(decide(Mode::Force, &seen, &done), Step::EndJobs);
}

#[test]
fn without_a_flag_it_refuses_before_anything_is_changed() {
    let busy = Seen { live: 2, word: Word::Reports { busy: 1, retired: false }, ..SERVES };
    let refused = |count, known| Step::Stop(Stop::AgentsWork { count, known });
    assert_eq!(decide(Mode::Careful, &busy, &NOTHING_DONE), refused(1, true));
    let silent = Seen { word: Word::Silent, ..busy };
    assert_eq!(decide(Mode::Careful, &silent, &NOTHING_DONE), refused(2, false));
    let quiet = Seen { word: Word::Quiet, ..busy };
    assert_eq!(decide(Mode::Careful, &quiet, &NOTHING_DONE), Step::Wait(Wait::Sign));
    let idle = Seen { live: 2, ..SERVES };
    assert_eq!(decide(Mode::Careful, &idle, &NOTHING_DONE), Step::Ask);
}

#[test]
fn a_request_that_somebody_else_took_back_ends_the_run() {
    let done = Progress { asked: true, saw_asked: true, ..NOTHING_DONE };
    for mode in MODES {
        assert_eq!(decide(mode, &SERVES, &done), Step::Stop(Stop::TakenBack), "{mode:?}");
    }
}

/// Every state, whatever led to it.
fn all_states() -> Vec<(Seen, Progress)> {
    let flags = [false, true];
    let words = [
        Word::Silent,
        Word::Quiet,
        Word::Reports { busy: 0, retired: false },
        Word::Reports { busy: 1, retired: false },
        Word::Reports { busy: 0, retired: true },
    ];
    let mut all = Vec::new();
    for bits in 0_u32..1 << 9 {
        let flag = |index: u32| flags[usize::from(bits & (1 << index) != 0)];
        for word in words {
            for live in [0, 1] {
                let seen = Seen { anything: true, deployment: flag(0), pods: flag(1), live, asked: flag(2), word };
                let done = Progress {
                    asked: flag(3),
                    saw_asked: flag(4),
                    ended_jobs: flag(5),
                    cannot_ask: flag(6),
                    stopped: flag(7),
                    late: flag(8),
                };
                all.push((seen, done));
            }
        }
    }
    all
}

#[test]
fn without_force_no_state_leads_to_a_deletion_beside_a_live_job() {
    for (seen, done) in all_states() {
        for mode in [Mode::Careful, Mode::Drain] {
            let step = decide(mode, &seen, &done);
            let deletes = matches!(step, Step::EndJobs | Step::StopOrchestrator | Step::RemoveRest);
            assert!(!deletes || seen.live == 0, "{mode:?} {seen:?} {done:?} {step:?}");
            assert_ne!(step, Step::EndJobs, "{mode:?} {seen:?} {done:?}");
        }
    }
}

#[test]
fn nothing_waits_when_the_time_is_over() {
    for (seen, done) in all_states().into_iter().filter(|(_, done)| done.late) {
        for mode in MODES {
            let step = decide(mode, &seen, &done);
            assert!(!matches!(step, Step::Wait(_)), "{mode:?} {seen:?} {done:?}");
        }
    }
}

/// One Job of the model.
#[derive(Clone, Debug)]
struct Job {
    name: usize,
    /// Ticks of work that are left; `None` works for ever. An idle one has 0.
    work: Option<u32>,
    live: bool,
}

#[derive(Clone, Debug, Default)]
struct Report {
    written: u32,
    registered: BTreeSet<usize>,
    busy: usize,
    retired: bool,
}

/// A cluster, an orchestrator in it, and Azure DevOps.
#[derive(Clone, Debug)]
struct World {
    rng: fastrand::Rng,
    deployment: bool,
    pods: bool,
    rest: bool,
    asked: bool,
    /// The orchestrator works; one that does not leaves everything as it is.
    alive: bool,
    /// Its reports can be read.
    readable: bool,
    jobs: Vec<Job>,
    registered: BTreeSet<usize>,
    report: Option<Report>,
    names: usize,
    /// Names that a run has told the person, and whether it said that more may be there.
    named: BTreeSet<usize>,
    said_unknown: bool,
    ended_live: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (alive, readable) = (rng.f64() < 0.7, rng.f64() < 0.8);
        let mut world = Self {
            deployment: true,
            pods: true,
            rest: true,
            asked: false,
            alive: true,
            readable,
            jobs: Vec::new(),
            registered: BTreeSet::new(),
            report: None,
            names: 0,
            named: BTreeSet::new(),
            said_unknown: false,
            ended_live: 0,
            rng,
        };
        for _ in 0..10 {
            world.tick();
        }
        world.alive = alive;
        world
    }

    fn live(&self) -> usize {
        self.jobs.iter().filter(|job| job.live).count()
    }

    /// A moment passes.
    fn tick(&mut self) {
        for job in self.jobs.iter_mut().filter(|job| job.live) {
            let is_over = job.work.is_some_and(|work| work == 1);
            job.work = job.work.map(|work| work.saturating_sub(1));
            job.live = !is_over;
        }
        self.pods &= self.deployment;
        if self.rng.f64() < 0.02 {
            self.alive = !self.alive;
        }
        if !(self.alive && self.pods) {
            return;
        }
        if self.asked {
            for job in &mut self.jobs {
                // An idle one is taken back by the orchestrator itself, which asks Azure DevOps first.
                job.live &= job.work != Some(0);
            }
            let live: BTreeSet<usize> = self.jobs.iter().filter(|job| job.live).map(|job| job.name).collect();
            self.registered.retain(|name| live.contains(name));
        } else if self.live() < 3 && self.rng.f64() < 0.2 {
            self.names += 1;
            let work = if self.rng.f64() < 0.05 { None } else { Some(self.rng.u32(0..15)) };
            self.jobs.push(Job { name: self.names, work, live: true });
            self.registered.insert(self.names);
        }
        self.report = Some(Report {
            written: self.report.as_ref().map_or(0, |report| report.written) + 1,
            registered: self.registered.clone(),
            busy: self.jobs.iter().filter(|job| job.live && job.work != Some(0)).count(),
            retired: self.asked && self.live() == 0 && self.registered.is_empty(),
        });
    }
}

/// What ends a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Interrupt,
    Kill,
    LostConnection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Gone,
    Stopped(Stop),
    Cut(PutBack),
    Killed,
}

/// The command, as it runs over the model.
struct Run {
    mode: Mode,
    done: Progress,
    last_report: Option<u32>,
    report_when_asked: Option<u32>,
    unchanged: u32,
    seen_live: BTreeSet<usize>,
    last: Option<Seen>,
}

impl Run {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            done: NOTHING_DONE,
            last_report: None,
            report_when_asked: None,
            unchanged: 0,
            seen_live: BTreeSet::new(),
            last: None,
        }
    }

    fn look(&mut self, world: &World) -> Seen {
        let report = world.report.as_ref().filter(|_| world.readable);
        let written = report.map(|report| report.written);
        self.unchanged = if written == self.last_report { self.unchanged + 1 } else { 0 };
        self.last_report = written;
        let word = match report {
            _ if !world.pods || self.unchanged > 8 => Word::Silent,
            None => Word::Quiet,
            Some(report) => {
                Word::Reports { busy: report.busy, retired: report.retired && self.report_when_asked != written }
            }
        };
        self.seen_live.extend(world.jobs.iter().filter(|job| job.live).map(|job| job.name));
        Seen {
            anything: world.rest || world.deployment,
            deployment: world.deployment,
            pods: world.pods,
            live: world.live(),
            asked: world.asked,
            word,
        }
    }

    /// Runs to its end. `others` acts on the world between two steps, as another person would.
    fn until_it_ends(&mut self, world: &mut World, cut: Option<(u32, Cut)>, mut others: impl FnMut(&mut World)) -> End {
        for moment in 0_u32.. {
            assert!(moment < 2_000, "it does not end: {world:?}");
            self.done.late = moment > 60;
            let seen = self.look(world);
            self.last = Some(seen);
            let looked_at = world.clone();
            // Everything can happen between a look and the step that it led to.
            world.tick();
            others(world);
            let step = decide(self.mode, &seen, &self.done);
            self.done.saw_asked |= seen.asked;
            let is_cut = cut.filter(|(at, _)| *at == moment).map(|(_, cut)| cut);
            // A step that is cut may be done or not.
            let happens = is_cut.is_none() || world.rng.bool();
            if happens && let Some(end) = self.step(step, world, &looked_at) {
                return end;
            }
            if let Some(cut) = is_cut {
                return self.cut(cut, step, world);
            }
        }
        unreachable!()
    }

    fn step(&mut self, step: Step, world: &mut World, looked_at: &World) -> Option<End> {
        match step {
            Step::Wait(_) => {}
            Step::Ask => {
                self.report_when_asked = world.report.as_ref().map(|report| report.written);
                (world.asked, self.done.asked) = (true, true);
            }
            Step::EndJobs => {
                self.done.ended_jobs = true;
                self.delete_jobs(world, looked_at, true);
            }
            Step::StopOrchestrator => {
                self.done.stopped = true;
                world.deployment = false;
            }
            Step::RemoveRest => {
                let report = world.report.as_ref().filter(|_| world.readable);
                match report {
                    Some(report) if report.retired => {}
                    Some(report) => world.named.extend(report.registered.iter().copied()),
                    None => world.said_unknown = true,
                }
                world.named.extend(&self.seen_live);
                self.delete_jobs(world, looked_at, self.mode == Mode::Force);
                (world.rest, world.asked) = (false, false);
                return Some(End::Gone);
            }
            Step::Stop(stop) => {
                let _ = self.put_back(world);
                return Some(End::Stopped(stop));
            }
            Step::Done => return Some(End::Gone),
        }
        None
    }

    /// Deletes the Jobs of a look; the live ones only where that is asked for.
    fn delete_jobs(&self, world: &mut World, looked_at: &World, live_too: bool) {
        let was_live = |name: usize| looked_at.jobs.iter().find(|job| job.name == name).map(|job| job.live);
        let mut ended = 0;
        world.jobs.retain(|job| {
            let goes = was_live(job.name).is_some_and(|was_live| !was_live || live_too);
            ended += usize::from(goes && job.live);
            !goes
        });
        assert!(ended == 0 || self.mode == Mode::Force, "a live agent was ended: {:?}", self.mode);
        world.ended_live += ended;
    }

    fn put_back(&self, world: &mut World) -> PutBack {
        let what = put_back(&self.done, self.last.as_ref());
        if what == PutBack::TakeBack {
            world.asked = false;
        }
        what
    }

    fn cut(&mut self, cut: Cut, step: Step, world: &mut World) -> End {
        // A request that was under way may have arrived.
        self.done.asked |= step == Step::Ask;
        self.done.stopped |= step == Step::StopOrchestrator;
        match cut {
            Cut::Kill => End::Killed,
            Cut::Interrupt => End::Cut(self.put_back(world)),
            Cut::LostConnection => End::Cut(match put_back(&self.done, self.last.as_ref()) {
                // It could not be done, which is said.
                PutBack::TakeBack => PutBack::StaysAsked,
                other => other,
            }),
        }
    }
}

/// The commands that a run's last line offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Again,
    Longer,
    Drain,
    Force,
    Resume,
    /// `install`: the orchestrator comes back.
    Install,
}

fn ways_out(end: End, mode: Mode) -> Vec<Way> {
    match end {
        End::Gone => Vec::new(),
        End::Stopped(Stop::AgentsWork { .. }) => vec![Way::Drain, Way::Force],
        End::Stopped(Stop::TakenBack) => vec![Way::Again],
        End::Stopped(Stop::TimedOut { .. } | Stop::TimedOutStopped { .. }) => vec![Way::Longer, Way::Force],
        End::Cut(PutBack::Nothing | PutBack::TakeBack) => vec![Way::Again],
        End::Cut(PutBack::StaysAsked) | End::Killed if mode == Mode::Force => vec![Way::Again, Way::Resume],
        End::Cut(PutBack::StaysAsked) | End::Killed => vec![Way::Again, Way::Resume],
        End::Cut(PutBack::StaysStopped) => vec![Way::Again, Way::Install],
    }
}

#[test]
fn walks_end_no_live_agent_without_force_and_each_end_has_a_way_out() {
    let (mut gone, mut serving, mut cuts) = (0, 0, 0);
    for seed in 0..2_000 {
        let mut world = World::new(seed);
        let mut dice = fastrand::Rng::with_seed(seed ^ 0xdead_beef);
        let mut mode = MODES[dice.usize(..3)];
        let mut forced = false;
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 60, "seed {seed}: no way out of {world:?}");
            forced |= mode == Mode::Force;
            let cut = (turns < 8 && dice.f64() < 0.6)
                .then(|| (dice.u32(..40), [Cut::Interrupt, Cut::Kill, Cut::LostConnection][dice.usize(..3)]));
            cuts += usize::from(cut.is_some());
            // Twice at once: another run with another flag takes its steps between ours.
            let mut other = (dice.f64() < 0.3).then(|| Run::new(MODES[dice.usize(..if forced { 3 } else { 2 })]));
            let end = Run::new(mode).until_it_ends(&mut world, cut, |world| {
                let Some(run) = &mut other else { return };
                let seen = run.look(world);
                let step = decide(run.mode, &seen, &run.done);
                run.done.saw_asked |= seen.asked;
                let looked_at = world.clone();
                if run.step(step, world, &looked_at).is_some() {
                    other = None;
                }
            });
            assert!(forced || world.ended_live == 0, "seed {seed}");
            if end == End::Gone {
                break;
            }
            let ways = ways_out(end, mode);
            assert!(!ways.is_empty(), "seed {seed}: nothing leads out of {end:?}");
            match ways[dice.usize(..ways.len())] {
                Way::Again | Way::Longer => {}
                Way::Drain => mode = Mode::Drain,
                Way::Force => mode = Mode::Force,
                Way::Resume | Way::Install => {
                    (world.asked, world.deployment, world.pods, world.rest) = (false, true, true, true);
                    world.alive = true;
                    for _ in 0..20 {
                        world.tick();
                    }
                    serving += usize::from(world.asked);
                }
            }
        }
        gone += 1;
        for name in &world.registered {
            assert!(world.named.contains(name) || world.said_unknown, "seed {seed}: {name} is forgotten: {world:?}");
        }
    }
    assert_eq!((gone, serving), (2_000, 0));
    assert!(cuts > 1_000, "{cuts}");
}
