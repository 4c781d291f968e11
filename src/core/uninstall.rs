//! What `uninstall` does next, from what the cluster shows now: docs/decisions/0025-uninstall.md.
//!
//! Without [`Mode::Force`] no step that it chooses ends a Job that is live, whatever the orchestrator says or does not say.

/// What the person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No flag: refuse while agents work.
    Careful,
    /// `--drain`: wait until agents that work are done.
    Drain,
    /// `--force`: end agents that work.
    Force,
}

/// What the orchestrator shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It reports.
    Reports {
        /// Agents that work on a job request.
        busy: usize,
        /// All of ours is removed from Azure DevOps, and the report was written after it was asked for that.
        retired: bool,
    },
    /// Whether it still reports is not known yet.
    Quiet,
    /// It does not run, has not reported for long, or cannot be understood.
    Silent,
}

/// What one look at the cluster showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Anything of the install.
    pub anything: bool,
    /// The orchestrator's Deployment.
    pub deployment: bool,
    /// A pod of the orchestrator.
    pub pods: bool,
    /// The agents' Jobs that have not ended.
    pub live: usize,
    /// The control document asks the orchestrator to retire.
    pub asked: bool,
    /// The orchestrator.
    pub word: Word,
}

/// What this run has done and waited for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// This run asked the orchestrator to retire.
    pub asked: bool,
    /// An earlier look of this run showed that the orchestrator was asked to retire.
    pub saw_asked: bool,
    /// This run ended the Jobs.
    pub ended_jobs: bool,
    /// This run could not ask, and goes on all the same. Only with [`Mode::Force`].
    pub cannot_ask: bool,
    /// This run deleted the Deployment.
    pub stopped: bool,
    /// The time to wait is over.
    pub late: bool,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A sign of life, to know how many agents work.
    Sign,
    /// The orchestrator takes back what it made.
    Retirement,
    /// Agents that work.
    Agents(usize),
    /// The orchestrator's pods end.
    Pods,
}

/// Why a run ends before all is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Agents work, and no flag says what to do about it. Nothing was changed.
    AgentsWork {
        /// How many; at most that many where the orchestrator does not say.
        count: usize,
        /// The orchestrator says so.
        known: bool,
    },
    /// Somebody else took the request to retire back. Nothing was deleted.
    TakenBack,
    /// The time to wait is over. Nothing was deleted.
    TimedOut {
        /// Agents that still work.
        live: usize,
    },
    /// The time to wait is over after the orchestrator was stopped. No agent was ended.
    TimedOutStopped {
        /// Agents that still work.
        live: usize,
    },
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look again a moment later.
    Wait(Wait),
    /// Ask the orchestrator to retire.
    Ask,
    /// Delete the Jobs that are live. Only with [`Mode::Force`].
    EndJobs,
    /// Delete the Deployment.
    StopOrchestrator,
    /// Delete what else this look showed; the Jobs that are live only with [`Mode::Force`].
    RemoveRest,
    /// Give up.
    Stop(Stop),
    /// Nothing is left.
    Done,
}

/// What an interrupted run does, and what is then true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutBack {
    /// Nothing was changed.
    Nothing,
    /// The request to retire is taken back.
    TakeBack,
    /// The request stands since before this run and stays.
    StaysAsked,
    /// The orchestrator is stopped, which cannot be put back.
    StaysStopped,
}

/// Chooses the next step.
#[must_use]
pub fn decide(mode: Mode, seen: &Seen, done: &Progress) -> Step {
    if !seen.anything {
        return Step::Done;
    }
    // One that runs outside the cluster has no Deployment, and reports all the same.
    let serves = seen.deployment || (!done.stopped && seen.word != Word::Silent);
    if serves { while_it_serves(mode, seen, done) } else { without_orchestrator(mode, seen, done) }
}

fn while_it_serves(mode: Mode, seen: &Seen, done: &Progress) -> Step {
    if done.saw_asked && !seen.asked {
        return Step::Stop(Stop::TakenBack);
    }
    if mode == Mode::Careful && !done.saw_asked {
        match seen.word {
            Word::Reports { busy, .. } if busy > 0 => {
                return Step::Stop(Stop::AgentsWork { count: busy, known: true });
            }
            Word::Quiet if seen.live > 0 && !done.late => return Step::Wait(Wait::Sign),
            Word::Quiet | Word::Silent if seen.live > 0 => {
                return Step::Stop(Stop::AgentsWork { count: seen.live, known: false });
            }
            Word::Reports { .. } | Word::Quiet | Word::Silent => {}
        }
    }
    if !seen.asked && !done.cannot_ask {
        return Step::Ask;
    }
    if mode == Mode::Force && seen.live > 0 && !done.ended_jobs {
        return Step::EndJobs;
    }
    let is_ready = match seen.word {
        Word::Reports { retired, .. } => retired,
        Word::Quiet => false,
        Word::Silent => true,
    };
    let may_end_agents = mode == Mode::Force && (done.late || seen.word == Word::Silent);
    if may_end_agents || (is_ready && seen.live == 0) {
        return if seen.deployment { Step::StopOrchestrator } else { rest_or_wait(seen, done) };
    }
    if done.late {
        return Step::Stop(Stop::TimedOut { live: seen.live });
    }
    Step::Wait(match (seen.word, seen.live) {
        (Word::Reports { busy, .. }, _) if busy > 0 => Wait::Agents(busy),
        (Word::Silent | Word::Reports { retired: true, .. }, live) => Wait::Agents(live),
        _ => Wait::Retirement,
    })
}

fn without_orchestrator(mode: Mode, seen: &Seen, done: &Progress) -> Step {
    if mode == Mode::Force && seen.live > 0 && !done.late {
        return Step::EndJobs;
    }
    if seen.live > 0 && mode != Mode::Force {
        if mode == Mode::Careful && !done.stopped && !done.saw_asked {
            return Step::Stop(Stop::AgentsWork { count: seen.live, known: false });
        }
        return match done.late {
            true => Step::Stop(Stop::TimedOutStopped { live: seen.live }),
            false => Step::Wait(Wait::Agents(seen.live)),
        };
    }
    rest_or_wait(seen, done)
}

fn rest_or_wait(seen: &Seen, done: &Progress) -> Step {
    // A pod that does not end holds nothing up for ever: it was asked to start nothing.
    if seen.pods && !done.late { Step::Wait(Wait::Pods) } else { Step::RemoveRest }
}

/// What a run does that ends before all is gone.
#[must_use]
pub fn put_back(done: &Progress, last: Option<&Seen>) -> PutBack {
    let is_stopped = done.stopped || last.is_some_and(|seen| !seen.deployment && seen.word == Word::Silent);
    match (is_stopped, done.asked, done.saw_asked) {
        (true, ..) if done.stopped || done.saw_asked => PutBack::StaysStopped,
        (_, true, _) => PutBack::TakeBack,
        (_, false, true) => PutBack::StaysAsked,
        (_, false, false) => PutBack::Nothing,
    }
}

#[cfg(test)]
mod tests;
