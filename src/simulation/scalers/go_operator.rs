//! MShekow's operator in Go, *azure-pipelines-k8s-agent-scaler* (2025-07-04): for each set of capabilities the
//! unfinished jobs minus the pods.
//!
//! Running jobs are counted, and balanced by the pods that run them. A job belongs to a template if their demands and
//! capabilities are the very same, but for a demanded version of the agent; here there is a template for each set of
//! demands. At most one idle pod is taken back at a time, when there are more pods than jobs and it has run without a
//! job for five minutes. Since when it has is an annotation of the pod, so a restart loses nothing. `maxCount` of each
//! template is `--max-agents` here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;

use super::{Kinds, Names, Order, Scaler, View};
use crate::{core::Progress, simulation::kinds::exact_key};

/// A pod that idles for so long may be taken back.
const MINIMUM_IDLE: Duration = Duration::from_mins(5);

/// Jobs minus pods, for each set of capabilities.
pub(super) struct GoOperator {
    /// The template of each set of demands.
    templates: Vec<(BTreeSet<String>, String)>,
    max: usize,
    names: Names,
    /// Since when pods idle: their annotations.
    idle_since: BTreeMap<String, Timestamp>,
}

impl GoOperator {
    pub(super) fn new(kinds: &Kinds, max: Option<u32>) -> Self {
        let templates = kinds.exact.iter().map(|kind| {
            let key = exact_key(kind.demands.iter().map(String::as_str));
            (key.into_iter().map(str::to_owned).collect(), kind.name.clone())
        });
        Self {
            templates: templates.collect(),
            max: max.map_or(usize::MAX, |max| max as usize),
            names: Names::default(),
            idle_since: BTreeMap::new(),
        }
    }

    /// Notes which pods run without doing a job.
    fn annotate(&mut self, view: &View<'_>, now: Timestamp) {
        let agents: HashMap<&str, bool> =
            view.agents().map(|agent| (agent.name.as_str(), agent.assigned.is_some())).collect();
        let idles = view.runs().filter(|run| {
            run.is_live() && run.progress == Progress::Running && agents.get(run.name.as_str()) != Some(&true)
        });
        let before = std::mem::take(&mut self.idle_since);
        let since = |name: &str| before.get(name).copied().unwrap_or(now);
        self.idle_since = idles.map(|run| (run.name.clone(), since(&run.name))).collect();
    }
}

impl Scaler for GoOperator {
    fn name(&self) -> &'static str {
        "go-operator"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn poll(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Order> {
        self.annotate(view, now);
        let mut jobs: HashMap<BTreeSet<&str>, usize> = HashMap::new();
        for request in view.requests() {
            *jobs.entry(exact_key(request.job.demands.iter().map(String::as_str))).or_default() += 1;
        }
        let mut orders = Vec::new();
        for (demands, template) in &self.templates {
            let demands: BTreeSet<&str> = demands.iter().map(String::as_str).collect();
            let jobs = jobs.get(&demands).copied().unwrap_or_default();
            let pods = view.live_runs_of(template).count();
            if pods > jobs.min(self.max) {
                let idle = view
                    .live_runs_of(template)
                    .find(|run| self.idle_since.get(&run.name).is_some_and(|since| now >= *since + MINIMUM_IDLE));
                orders.extend(idle.map(|run| Order::Stop(run.name.clone())));
            } else {
                let room = self.max - pods;
                orders.extend(self.names.starts("pod", template, (jobs - pods.min(jobs)).min(room)));
            }
        }
        orders
    }

    fn forget(&mut self) {}
}
