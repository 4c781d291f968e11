//! One pool while its plan is made: what was taken stock of, the attempts made before, and what may be started.

use jiff::Timestamp;

use super::{Refusal, Wait};
use crate::core::{
    JobRequest, Memory, Moment, Policy, PoolPlan, PoolPolicy, PoolSnapshot, Purpose, Run, RunPhase, Verdict,
    attempts::next_attempt,
    health::{Allowance, allowance},
    lifecycle::Evidence,
    memory::Look,
    name::RunNames,
    quick_hash::HashMap,
    sight::Sight,
    supply::Tally,
    survey::Survey,
    upkeep::Doubts,
};

pub(super) struct PoolWork<'a> {
    pub(super) policy: &'a PoolPolicy,
    pub(super) survey: Survey<'a>,
    /// Which lists have suddenly shrunk.
    pub(super) doubts: Doubts,
    /// Runs that have not ended, planned ones included.
    pub(super) live: u32,
    /// The last attempt for each purpose.
    last: HashMap<Key<'a>, &'a Run>,
    /// How many agents of each template may be starting.
    allowances: Vec<Allowance>,
    /// What keeps warm agents from being started.
    pub(super) unfilled: Vec<Verdict>,
    /// What the runs of each template are called.
    pub(super) names: Vec<RunNames>,
}

/// When a look is taken, by each clock, and what is remembered of earlier ones.
#[derive(Clone, Copy)]
pub(super) struct Looking<'a> {
    pub(super) memory: &'a Memory,
    pub(super) moment: Moment,
    /// The time of day, for schedules and pauses.
    pub(super) now: Timestamp,
    /// By the clock that stamps runs.
    pub(super) host: Timestamp,
    /// By the clock that stamps agents and requests.
    pub(super) azure_devops: Timestamp,
}

/// What attempts are counted for: a request in its pool, a warm slot in its template.
type Key<'a> = (Option<&'a str>, Purpose);

fn key(template: &str, purpose: Purpose) -> Key<'_> {
    match purpose {
        Purpose::Request(_) => (None, purpose),
        Purpose::Slot(_) => (Some(template), purpose),
    }
}

impl<'a> PoolWork<'a> {
    pub(super) fn new(
        whole: &Policy,
        policy: &'a PoolPolicy,
        observed: &'a PoolSnapshot,
        expected: &'a [Run],
        looking: Looking<'a>,
    ) -> Self {
        let Looking { memory, moment, now, host, azure_devops } = looking;
        let look = Look { memory: memory.pool(&policy.name), moment };
        let trusts_agents = look.trusts_agents(observed, whole.installation.id());
        let evidence = Evidence { look, trusts_agents, host, azure_devops };
        let doubts = Doubts {
            agents: look.agents_have_shrunk(observed),
            requests: look.requests_have_shrunk(observed),
            runs: look.runs_have_shrunk(observed),
        };
        let sight = Sight::of(policy, observed, expected, evidence, whole.timeouts);
        let mut last: HashMap<Key<'_>, &Run> = HashMap::default();
        for known in &sight.runs {
            let run = known.run;
            let latest = last.entry(key(&run.template, run.purpose)).or_insert(run);
            if run.attempt > latest.attempt {
                *latest = run;
            }
        }
        let live = sight.live().count().try_into().unwrap_or(u32::MAX);
        let survey = Survey::of(sight, now);
        let allowances = (0..policy.templates.len())
            .map(|template| {
                let proven = survey.learned[template].as_ref().is_some_and(|known| known.is_current);
                allowance(template, &survey.sight, proven, host)
            })
            .collect();
        let (us, organization) = (&whole.installation, &whole.organization);
        let kinds = policy.templates.iter();
        let names = kinds.map(|kind| RunNames::new(&kind.name_prefix, us, organization, &policy.name, &kind.name));
        let names = names.collect();
        Self { policy, survey, doubts, live, last, allowances, unfilled: Vec::new(), names }
    }

    /// The open requests of a kind of parallel job.
    pub(super) fn open_of_tag(&self, tag: &str) -> impl Iterator<Item = &'a JobRequest> {
        let requests = self.survey.open.iter().map(|open| open.request);
        requests.filter(move |request| request.parallelism_tag.as_deref() == Some(tag))
    }

    /// The number of the next attempt for a purpose, or until when it has to wait.
    pub(super) fn next_attempt(&self, template: usize, purpose: Purpose, now: Timestamp) -> Result<u32, Wait> {
        let key = key(&self.policy.templates[template].name, purpose);
        next_attempt(self.last.get(&key).copied(), || self.failures_in_a_row(template, purpose), now)
    }

    /// How many agents of one purpose failed since the last one that did not.
    fn failures_in_a_row(&self, template: usize, purpose: Purpose) -> u32 {
        let attempts = || {
            let of_template = self.survey.sight.of_template(template).map(|known| known.run);
            of_template.filter(move |run| run.purpose == purpose)
        };
        let has_failed = |run: &&Run| matches!(run.phase, RunPhase::Failed(..));
        let last_good = attempts().filter(|run| !has_failed(run)).map(|run| run.attempt).max();
        let failed = attempts().filter(has_failed).filter(|run| last_good.is_none_or(|good| run.attempt > good));
        failed.count().try_into().unwrap_or(u32::MAX)
    }

    /// Whether the template's health lets one more agent start.
    pub(super) fn allow(&self, template: usize, quota: Option<&Allowance>) -> Result<(), Refusal> {
        let allowance = quota.unwrap_or(&self.allowances[template]);
        let Tally { starting, undecided, .. } = self.survey.templates[template];
        match allowance {
            Allowance::Any => Ok(()),
            Allowance::AtMost(limit) if starting + undecided < *limit => Ok(()),
            refused => Err(Refusal::Health(refused.clone())),
        }
    }

    /// Whether a request that got nothing could be served by an agent that is free or of one of our templates.
    pub(super) fn could_serve_more(&self) -> bool {
        let survey = &self.survey;
        let satisfiable: Vec<Vec<bool>> =
            (0..self.policy.templates.len()).map(|template| survey.satisfiable(template)).collect();
        survey.open.iter().any(|open| survey.reached[open.demands] || satisfiable.iter().any(|sets| sets[open.demands]))
    }

    pub(super) fn finish(self) -> PoolPlan {
        let Self { policy, survey, unfilled, .. } = self;
        let busy =
            survey.sight.live().filter(|known| survey.sight.is_at_work(known)).map(|known| known.run.name.clone());
        let busy = busy.collect();
        let verdicts = survey.verdicts.into_iter().filter_map(|(id, verdict)| Some((id, verdict?))).collect();
        PoolPlan { pool: policy.name.clone(), counts: survey.counts, verdicts, busy, unfilled }
    }
}
