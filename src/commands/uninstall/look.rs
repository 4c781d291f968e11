//! One look at what an uninstall has to know before its next step.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    belongings::{Belongings, is_live, of_installation},
    status::{Status, statuses},
};
use crate::{
    cluster::{CONTROL_KEY, Cluster, ClusterError, ErrorKind, INSTALL_LABELS, NAME, ObjectRef, control_name},
    core::uninstall::{Seen, Word},
};

/// An orchestrator writes its status every 30 seconds at least.
const SILENCE: Duration = Duration::from_secs(45);

/// The first guess, by two clocks. It decides nothing that deletes.
const FRESH: SignedDuration = SignedDuration::from_secs(90);

/// Looks again and again, and notices whether the orchestrator still writes.
pub(super) struct Looker<'a> {
    cluster: &'a Cluster,
    ours: &'a Belongings,
    began: Instant,
    /// The newest report, and when it was first seen.
    newest: Option<(Option<Timestamp>, Instant)>,
    /// It was seen to change.
    writes: bool,
    /// When the orchestrator was asked to retire, and the newest report then.
    when_asked: Option<(Instant, Option<Timestamp>)>,
    /// Each live Job that a look showed, with its pool.
    pub(super) seen_live: BTreeMap<String, String>,
    /// The statuses of the last look.
    pub(super) statuses: Vec<Status>,
    /// The live Jobs of the last look.
    pub(super) live: Vec<Value>,
    /// The Deployments of the last look.
    pub(super) deployments: Vec<Value>,
}

impl<'a> Looker<'a> {
    pub(super) fn new(cluster: &'a Cluster, ours: &'a Belongings) -> Self {
        Self {
            cluster,
            ours,
            began: Instant::now(),
            newest: None,
            writes: false,
            when_asked: None,
            seen_live: BTreeMap::new(),
            statuses: Vec::new(),
            live: Vec::new(),
            deployments: Vec::new(),
        }
    }

    /// From now on, only a report that is newer than the newest one says that all is taken back.
    pub(super) fn asks_now(&mut self) {
        self.when_asked = Some((Instant::now(), self.newest.and_then(|(at, _)| at)));
    }

    /// Looks.
    pub(super) async fn look(&mut self) -> Result<Seen, ClusterError> {
        let Belongings { namespace, agents_namespace, installation, .. } = self.ours;
        let part = format!("app.kubernetes.io/part-of={NAME}");
        self.deployments = self.cluster.list("apps/v1", "Deployment", namespace, &part).await?;
        let pods = match self.cluster.list("v1", "Pod", namespace, INSTALL_LABELS).await {
            Err(error) if error.kind == ErrorKind::Forbidden => Vec::new(),
            other => other?,
        };
        let id = installation.as_deref();
        let mut jobs = self.cluster.list("batch/v1", "Job", agents_namespace, &of_installation(id)).await?;
        jobs.retain(is_live);
        for job in &jobs {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let pool = text(&job["metadata"]["annotations"]["kubectl-ado/pool"]);
            self.seen_live.insert(text(&job["metadata"]["name"]), pool);
        }
        self.live = jobs;
        let asked = self.asked().await?;
        self.statuses = statuses(self.cluster, agents_namespace, id).await?;
        Ok(Seen {
            anything: true,
            deployment: !self.deployments.is_empty(),
            pods: !pods.is_empty(),
            live: self.live.len(),
            asked,
            word: self.word(),
        })
    }

    /// Whether the orchestrator is asked to retire.
    async fn asked(&self) -> Result<bool, ClusterError> {
        let controls: BTreeSet<String> = self.ours.leases.iter().map(|lease| control_name(lease)).collect();
        for name in &controls {
            let map = ObjectRef {
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
                namespace: self.ours.agents_namespace.clone(),
                name: name.clone(),
            };
            let map = self.cluster.get(&map).await?.unwrap_or_default();
            let text = map["data"][CONTROL_KEY].as_str().unwrap_or_default();
            let control: Value = serde_json::from_str(text).unwrap_or_default();
            if control["retire"] != true {
                return Ok(false);
            }
        }
        Ok(!controls.is_empty())
    }

    fn word(&mut self) -> Word {
        let newest = self.statuses.first();
        let at = newest.and_then(|status| status.reported_at);
        match &mut self.newest {
            Some((known, since)) if *known != at => {
                (*known, *since) = (at, Instant::now());
                self.writes = true;
            }
            Some(_) => {}
            None => self.newest = Some((at, Instant::now())),
        }
        let readable = newest.and_then(|status| Some((status.busy?, status.retired)));
        let since = match (readable, self.when_asked) {
            (Some(_), _) => self.newest.map_or(self.began, |(_, since)| since),
            // What cannot be understood says nothing, however often it is written.
            (None, asked) => asked.map_or(self.began, |(since, _)| since),
        };
        let available = |deployment: &Value| deployment["status"]["availableReplicas"].as_u64().unwrap_or(0) > 0;
        let runs = self.deployments.iter().any(available);
        let is_fresh = at.is_some_and(|at| Timestamp::now().duration_since(at).abs() < FRESH);
        let before_it_was_asked = self.when_asked.is_some_and(|(_, newest)| newest == at);
        match readable {
            _ if since.elapsed() > SILENCE => Word::Silent,
            Some((busy, retired)) if self.writes || is_fresh => {
                Word::Reports { busy, retired: retired && !before_it_was_asked }
            }
            Some(_) | None if runs => Word::Quiet,
            Some(_) | None => Word::Silent,
        }
    }
}
