//! Looks, decides by [`crate::core::uninstall`], does the one step, and looks again. Whatever ends it before all is gone
//! puts back what it changed, or says how to go on and how to go back.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    super::{Exit, Failure},
    belongings::Belongings,
    look::Looker,
    remove, say,
    status::{Registered, registered},
};
use crate::{
    cluster::{Cluster, ClusterError, change_control},
    core::uninstall::{Mode, Progress, PutBack, Seen, Step, Stop, Wait, Word, decide, put_back},
    output::harmless,
};

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(500);

/// How long an orchestrator that is asked to retire may keep agents that were ended by force: Azure DevOps holds on to
/// their registrations for some minutes, and nobody waits for that.
const BY_FORCE: Duration = Duration::from_secs(30);

/// A line for a person, and what to do about it.
type Cause = (String, Option<String>);

/// One run.
pub(super) struct Run<'a> {
    cluster: &'a Cluster,
    ours: &'a Belongings,
    mode: Mode,
    timeout: Duration,
    looker: Looker<'a>,
    done: Progress,
    last: Option<Seen>,
    said: Option<Wait>,
    /// The last look before the orchestrator was stopped showed that it reports, and whether all was taken back.
    spoke: bool,
    retired: bool,
    /// A Job that was live may have been deleted.
    ended_any: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(cluster: &'a Cluster, ours: &'a Belongings, mode: Mode, timeout: Duration) -> Self {
        let looker = Looker::new(cluster, ours);
        // Nobody knows where to ask.
        let done = Progress { cannot_ask: ours.leases.is_empty(), ..Progress::default() };
        let (last, said) = (None, None);
        Self { cluster, ours, mode, timeout, looker, done, last, said, spoke: false, retired: false, ended_any: false }
    }

    /// Refuses before anything is changed, where agents work and no flag says what to do about it.
    pub(super) async fn refuse(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let seen = self.looker.look().await?;
            let done = Progress { late: Instant::now() >= deadline, ..self.done };
            match decide(self.mode, &seen, &done) {
                Step::Wait(Wait::Sign) => self.say_wait(Wait::Sign),
                Step::Stop(stop @ Stop::AgentsWork { .. }) => return Err(self.stopped(stop)),
                _ => return Ok(()),
            }
            sleep(AGAIN).await;
        }
    }

    /// Does all that has to be done. What stays is in the answer.
    pub(super) async fn go(&mut self) -> Result<Vec<Cause>, Failure> {
        let patience = if self.mode == Mode::Force { self.timeout.min(BY_FORCE) } else { self.timeout };
        let deadline = Instant::now() + patience;
        let mut trouble: Option<String> = None;
        loop {
            self.done.late = Instant::now() >= deadline;
            match self.once().await {
                Ok(Some(causes)) => return Ok(causes),
                Ok(None) => trouble = None,
                Err(Ended::Stopped(failure)) => return Err(failure),
                Err(Ended::Cluster(error)) if error.kind.is_transient() && !self.done.late => {
                    if trouble.as_ref() != Some(&error.message) {
                        say(format!("{error}; trying again"));
                    }
                    trouble = Some(error.message);
                }
                Err(Ended::Cluster(error)) => return Err(error.into()),
            }
            sleep(AGAIN).await;
        }
    }

    /// One look and one step.
    async fn once(&mut self) -> Result<Option<Vec<Cause>>, Ended> {
        let seen = self.looker.look().await?;
        self.last = Some(seen);
        if seen.deployment {
            // The call that was to delete it may have failed.
            self.done.stopped = false;
        }
        match seen.word {
            Word::Reports { retired, .. } => (self.spoke, self.retired) = (true, retired),
            Word::Quiet | Word::Silent if seen.deployment => (self.spoke, self.retired) = (false, false),
            Word::Quiet | Word::Silent => {}
        }
        let step = decide(self.mode, &seen, &self.done);
        self.done.saw_asked |= seen.asked;
        match step {
            Step::Wait(wait) => self.say_wait(wait),
            Step::Ask => self.ask().await?,
            Step::EndJobs => {
                self.ended_any = true;
                for job in &self.looker.live {
                    remove::one(self.cluster, job).await?;
                }
                self.done.ended_jobs = true;
            }
            Step::StopOrchestrator => {
                self.done.stopped = true;
                for deployment in &self.looker.deployments {
                    remove::one(self.cluster, deployment).await?;
                }
            }
            Step::RemoveRest => return self.remove_rest().await,
            Step::Stop(stop) => return Err(Ended::Stopped(self.stopped(stop))),
            Step::Done => return Ok(Some(Vec::new())),
        }
        Ok(None)
    }

    async fn ask(&mut self) -> Result<(), Ended> {
        if !self.done.asked {
            say(match self.last {
                Some(Seen { word: Word::Silent, .. }) => {
                    "the orchestrator does not report, and cannot remove its agents from Azure DevOps"
                }
                _ => "the orchestrator takes back its agents and placeholders",
            });
        }
        self.looker.asks_now();
        // From here on it may stand in the cluster, whatever becomes of the answer.
        self.done.asked = true;
        for lease in &self.ours.leases {
            let namespace = &self.ours.agents_namespace;
            let asked = change_control(self.cluster, namespace, lease, false, |control| control.retire = true).await;
            match asked {
                Err(error) if self.mode == Mode::Force && !error.kind.is_transient() => {
                    say(format!("warning: the orchestrator cannot be asked to remove its agents: {error}"));
                    self.done.cannot_ask = true;
                }
                asked => drop(asked?),
            }
        }
        Ok(())
    }

    /// `None` where a Job is live after all, which is waited for.
    async fn remove_rest(&mut self) -> Result<Option<Vec<Cause>>, Ended> {
        let latest = self.ours.again(self.cluster).await?;
        if self.mode != Mode::Force && latest.live().next().is_some() {
            return Ok(None);
        }
        let left = self.left_registered();
        // What is deleted now is the last that tells of them.
        left.iter().for_each(|(message, _)| say(message));
        let mut causes = remove::rest(self.cluster, self.ours, &latest, self.timeout).await?;
        causes.extend(left);
        Ok(Some(causes))
    }

    fn say_wait(&mut self, wait: Wait) {
        // That it is asked to was said then.
        if self.said == Some(wait) || (wait == Wait::Retirement && self.done.asked) {
            return;
        }
        self.said = Some(wait);
        say(match wait {
            Wait::Sign => "waiting for a sign of life of the orchestrator, to know how many agents work".to_owned(),
            Wait::Retirement => "the orchestrator takes back its agents and placeholders".to_owned(),
            Wait::Agents(count) => format!("waiting for {count} agents that are at work"),
            Wait::Pods => "waiting for the orchestrator's pod to end".to_owned(),
        });
    }

    fn namespace(&self) -> &str {
        &self.ours.namespace
    }

    /// The same command, as it was asked for.
    fn again(&self) -> String {
        let flag = match self.mode {
            Mode::Careful => "",
            Mode::Drain => " --drain",
            Mode::Force => " --force",
        };
        format!("kubectl ado uninstall -n {}{flag}", self.namespace())
    }

    fn stopped(&self, stop: Stop) -> Failure {
        let timeout = self.timeout.as_secs();
        let longer = format!("kubectl ado uninstall -n {} --drain --timeout 1h", self.namespace());
        let longer = format!("`{longer}` waits longer; --force ends agents that work");
        match stop {
            Stop::AgentsWork { count, known } => {
                let message = match known {
                    true => format!("{count} agents are at work"),
                    false => format!("{count} agents may be at work: the orchestrator does not say"),
                };
                let fix = "--drain waits for them; --force ends them and fails their pipeline jobs".to_owned();
                Failure::new(Exit::Failed, message, Some(fix))
            }
            Stop::TakenBack => Failure::new(
                Exit::Failed,
                "somebody took this uninstall back (resume, install, or another uninstall that ended); nothing was deleted",
                Some(format!("`{}` begins anew", self.again())),
            ),
            Stop::TimedOut { live: 0 } => Failure::new(
                Exit::TimedOut,
                format!("the orchestrator has not removed its agents within {timeout} s; nothing was deleted"),
                Some(longer),
            ),
            Stop::TimedOut { live } => Failure::new(
                Exit::TimedOut,
                format!("{live} agents are still at work after {timeout} s; nothing was deleted"),
                Some(longer),
            ),
            Stop::TimedOutStopped { live } => Failure::new(
                Exit::TimedOut,
                format!(
                    "{live} agents are still at work after {timeout} s; the orchestrator is stopped, no agent was ended"
                ),
                Some(longer),
            ),
        }
    }

    /// Puts back what this run changed, and says what is so then.
    pub(super) async fn put_back(&self) -> Vec<Cause> {
        let namespace = self.namespace();
        let resume = format!("kubectl ado resume --all -n {namespace}");
        let ways = format!("`{resume}` goes back, `{}` goes on", self.again());
        let ended = if self.ended_any { "; the Jobs of agents that worked are deleted" } else { "" };
        match put_back(&self.done, self.last.as_ref()) {
            PutBack::Nothing => Vec::new(),
            PutBack::TakeBack => {
                for lease in &self.ours.leases {
                    let agents_namespace = &self.ours.agents_namespace;
                    let taken_back =
                        change_control(self.cluster, agents_namespace, lease, false, |control| control.retire = false);
                    if let Err(error) = taken_back.await {
                        let message =
                            format!("the orchestrator is still asked to retire, and starts no agents: {error}");
                        return vec![(message, Some(ways))];
                    }
                }
                say(format!("the orchestrator goes on as before{ended}"));
                Vec::new()
            }
            PutBack::StaysAsked => {
                let message = "the orchestrator was asked to retire before, and starts no agents";
                vec![(message.to_owned(), Some(ways))]
            }
            PutBack::StaysStopped => {
                let message = match self.ended_any {
                    true => "the orchestrator is stopped, and its agents were ended",
                    false => "the orchestrator is stopped; no agent was ended",
                };
                let fix = format!("`{}` goes on, `kubectl ado install -n {namespace}` starts it again", self.again());
                vec![(message.to_owned(), Some(fix))]
            }
        }
    }

    /// What may stay in Azure DevOps, each with the way to remove it.
    fn left_registered(&self) -> Vec<Cause> {
        let found = registered(&self.looker.statuses);
        let retired =
            self.retired || (!self.spoke && self.looker.statuses.first().is_some_and(|status| status.retired));
        if self.looker.statuses.is_empty() {
            let message = "agents of this install may still be registered in Azure DevOps: no report tells which";
            let fix = "Organization settings > Agent pools > the pool > Agents: delete the offline ones whose names this install gave";
            return vec![(message.to_owned(), Some(fix.to_owned()))];
        }
        let unknown = self.looker.statuses.first().is_some_and(|status| status.busy.is_none());
        let mut causes: Vec<Cause> = Vec::new();
        if unknown {
            let message = "the orchestrator's last report cannot be understood: more of its agents may be registered";
            let fix = "Organization settings > Agent pools > the pool > Agents: delete the offline ones whose names this install gave";
            causes.push((message.to_owned(), Some(fix.to_owned())));
        }
        for Registered { organization, pool, agent, at, is_newest } in &found {
            let fix =
                format!("Organization settings > Agent pools > {pool} > Agents > {agent}: delete it ({organization})");
            let message = match at {
                _ if *is_newest && self.spoke => {
                    format!("the agent {agent} stays registered in the agent pool \"{pool}\"")
                }
                Some(at) => {
                    format!("the agent {agent} may still be registered in the agent pool \"{pool}\": it was at {at:.0}")
                }
                None => format!("the agent {agent} may still be registered in the agent pool \"{pool}\""),
            };
            causes.push((message, Some(fix)));
        }
        if !retired {
            let is_named = |name: &String| found.iter().any(|it| it.agent.eq_ignore_ascii_case(name));
            for (name, pool) in self.looker.seen_live.iter().filter(|(name, _)| !is_named(name)) {
                let (name, pool) = (harmless(name), harmless(pool));
                let message = format!(
                    "the agent {name} may be registered in the agent pool \"{pool}\": it worked when it was last seen"
                );
                let fix = format!(
                    "Organization settings > Agent pools > {pool} > Agents > {name}: delete it if it is there and offline"
                );
                causes.push((message, Some(fix)));
            }
        }
        causes
    }
}

/// Why a step was not done.
enum Ended {
    Stopped(Failure),
    Cluster(ClusterError),
}

impl From<ClusterError> for Ended {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}
