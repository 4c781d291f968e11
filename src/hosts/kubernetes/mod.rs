//! Agents as Kubernetes Jobs: one Job is one agent, which runs one pipeline job.
//!
//! All state is in the cluster. A Job says by labels and annotations whose it is and what it is for; its name decides
//! whether it is there already; its TTL puts it away even when no orchestrator runs any more.
//!
//! Jobs and pods are watched rather than listed, and what we asked for ourselves is expected until the watch shows it.
//!
//! Rights in the namespace: Jobs get, list, watch, create, patch, delete; pods list, watch, patch; Events list; Secrets
//! create, delete; ConfigMaps get, create, update; and get on the namespace itself.

mod agent_jobs;
mod busy;
mod calls;
mod documents;
mod equip;
mod failure;
mod feed;
mod generations;
mod grips;
mod job;
mod keep;
mod keys;
mod patches;
mod prepare;
mod render;
mod runs;
mod secret;
mod secret_calls;
mod slim;
mod slim_job;
mod slim_pod;
#[cfg(test)]
mod tests;
mod trouble;
mod view;
mod warnings;
mod watching;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use jiff::Timestamp;
use kube::Client;
use secrecy::ExposeSecret;
use tokio::time::Instant;

pub use agent_jobs::{
    AGENT_JOBS, AgentJob, AgentJobs, agent_jobs, jobs_of_installation, jobs_of_pool, jobs_of_request, why_no_pod,
};
use busy::Marks;
pub use documents::DocumentProblem;
pub(super) use failure::refused;
use grips::Grips;
pub use job::{DEFAULT_AGENT_IMAGE, TemplateError};
use job::{Grant, JobSettings, MadeJob, make_job};
use keep::Chores;
pub use prepare::prepare;
pub use render::{Rendered, render};
use secret::Vault;
use watching::Watching;

use super::{AgentFiles, AgentHost, HostError, Started, json::contains_text};
use crate::{
    azure::OrganizationToken,
    clock::ServerClock,
    cluster::{LeaseStore, NamedLease},
    config::{AgentSpec, Config, KubernetesConfig, SecretKey, Way},
    core::{
        EquipRun, Expectations, Held, Installation, LeaseView, Purpose, Recipe, Retention, Run, StartRun, StopReason,
        StopRun, lease_name,
    },
};

/// The shortest text that is recognized as a token; a shorter one may stand in a Job by chance.
const SHORTEST_TOKEN: usize = 8;

/// Runs agents as Jobs of one namespace.
pub struct KubernetesHost {
    client: Client,
    namespace: String,
    installation: Installation,
    /// This process, as the Jobs that it makes ready name it.
    identity: String,
    organization: String,
    /// The Lease of the orchestrators with our configuration. A single pass takes part in no election and has none.
    lease: Option<String>,
    retention: Retention,
    agents: BTreeMap<(String, String), AgentSpec>,
    docker_socket: Option<PathBuf>,
    token: OrganizationToken,
    credential: Credential,
    /// What agents need on their way to Azure DevOps.
    way: Way,
    warnings: Vec<String>,
    chores: Mutex<Chores>,
    /// The API server's.
    clock: ServerClock,
    expectations: Mutex<Expectations>,
    grips: Grips,
    marks: Mutex<Marks>,
    /// Begins with the first question for our runs.
    watching: OnceLock<Watching>,
}

/// Where the agents' token is mounted from.
enum Credential {
    /// A Secret that somebody brings.
    Existing(SecretKey),
    /// Secrets that we make.
    Managed(Box<Vault>),
}

impl KubernetesHost {
    /// A host for the namespace that [`prepare`] has seen to. Talks to nobody.
    ///
    /// # Errors
    ///
    /// A Job template has something of the wrong type; the message names file and path.
    pub fn new(
        client: Client,
        config: &Config,
        settings: &KubernetesConfig,
        installation: Installation,
        token: OrganizationToken,
    ) -> Result<Self, HostError> {
        let way = config.way();
        let pools: Vec<_> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
        let lease = (!config.run_once).then(|| lease_name(&installation, &config.organization.url, &pools));
        let credential = match &settings.token_secret {
            Some(secret) => Credential::Existing(secret.clone()),
            None => {
                let user = generations::user(&config.organization.url, &pools);
                let authorities = way.authorities.clone();
                let vault =
                    Vault::new(client.clone(), &settings.namespace, &installation, user, token.clone(), authorities);
                Credential::Managed(Box::new(vault))
            }
        };
        let mut host = Self {
            client,
            namespace: settings.namespace.clone(),
            installation,
            identity: String::new(),
            organization: config.organization.url.clone(),
            lease,
            retention: config.retention,
            agents: config.agents.clone(),
            docker_socket: settings.docker_socket.clone(),
            token,
            credential,
            way,
            warnings: Vec::new(),
            chores: Mutex::default(),
            clock: ServerClock::default(),
            expectations: Mutex::default(),
            grips: Grips::default(),
            marks: Mutex::default(),
            watching: OnceLock::new(),
        };
        host.warnings = host.try_templates()?;
        Ok(host)
    }

    /// The same host, for a process of that name.
    #[must_use]
    pub fn known_as(self, identity: &str) -> Self {
        Self { identity: identity.to_owned(), ..self }
    }

    /// The client that it talks to its cluster with.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace that the Jobs are in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same host, by a clock that the answers of its client set.
    #[must_use]
    pub fn by(self, clock: ServerClock) -> Self {
        Self { clock, ..self }
    }

    /// The same host by another clock, which it is this moment by: for whoever makes time pass as they like.
    #[must_use]
    pub fn by_clock(mut self, now: Timestamp) -> Self {
        self.clock = ServerClock::set_to(now);
        self
    }

    /// What the owners of the Job templates should know; one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Applies what the Job templates bring along (volumes, claims, …). To be called once, before the first start.
    pub async fn apply_documents(&self) -> Vec<DocumentProblem> {
        let mut paths = BTreeSet::new();
        let templates = self.agents.values().filter_map(|agent| agent.job_template.as_ref());
        // Pools may share a file.
        let documents: Vec<_> =
            templates.filter(|template| paths.insert(&template.path)).flat_map(|template| &template.others).collect();
        documents::apply_documents(&self.client, &self.namespace, &documents).await
    }

    /// Makes one Job of each template and throws it away, so that mistakes show at start.
    fn try_templates(&self) -> Result<Vec<String>, HostError> {
        let token = SecretKey { name: "token".to_owned(), key: "token".to_owned() };
        let mut warnings = BTreeSet::new();
        for ((pool, template), agent) in &self.agents {
            let (pool, template) = (pool.clone(), template.clone());
            let recipe = agent.registration.recipe().unwrap_or_default();
            let grant = match recipe {
                Recipe::JustInTime => Grant::Files(None),
                Recipe::InitContainer => Grant::InitContainer(&token),
                Recipe::Token => Grant::Token(&token),
            };
            let run = StartRun {
                name: "try".to_owned(),
                pool,
                template,
                purpose: Purpose::Slot(0),
                attempt: 1,
                revision: String::new(),
                recipe,
            };
            warnings.extend(self.make(&run, grant)?.warnings);
        }
        Ok(warnings.into_iter().collect())
    }

    fn make(&self, run: &StartRun, grant: Grant<'_>) -> Result<MadeJob, HostError> {
        let Some(agent) = self.agents.get(&(run.pool.clone(), run.template.clone())) else {
            let message = format!("pool \"{}\" has no agent template \"{}\"", run.pool, run.template);
            return Err(HostError::Refused { reason: "template", message, fix: None });
        };
        let settings = JobSettings {
            installation: &self.installation,
            organization: &self.organization,
            namespace: &self.namespace,
            agent,
            grant,
            docker_socket: self.docker_socket.as_deref(),
            retention: self.retention,
            way: &self.way,
            certified: matches!(self.credential, Credential::Managed(_)) && self.way.authorities.is_some(),
            lease: self.lease.as_deref(),
        };
        make_job(run, &settings).map_err(|error| {
            let file = agent.job_template.as_ref().map(|template| template.path.display().to_string());
            let file = file.unwrap_or_default();
            HostError::Refused {
                reason: "template",
                message: format!("the Job template {file}: {error}"),
                fix: Some(format!("correct {} in {file}", error.path)),
            }
        })
    }

    /// Asks for the Jobs of which it is not known whether they were made, and which no watch has shown since. Without an
    /// answer they are asked for again later; then nobody else's question would be answered either.
    async fn settle_doubts(&self) {
        let doubts = self.expectations().doubts(self.clock.now());
        let mut answers = true;
        for name in doubts {
            let found = if answers { self.get(&name).await } else { Err(HostError::Unavailable(String::new())) };
            match found {
                Ok(Some(job)) if !job.is_being_deleted() => {
                    self.expectations().started(&name, job.created_at(), job.held());
                }
                Ok(_) => {}
                Err(_) => {
                    answers = false;
                    self.expectations().still_in_doubt(&name, self.clock.now());
                }
            }
        }
    }

    /// Refuses a Job that would show the token to everyone who may see Jobs.
    async fn check_for_token(&self, run: &StartRun, made: &MadeJob) -> Result<(), HostError> {
        let token = self.token.current().await.map_err(|error| HostError::Credential(error.to_string()))?;
        let token = token.expose_secret();
        if token.len() < SHORTEST_TOKEN || !contains_text(&made.job, token) {
            return Ok(());
        }
        Err(HostError::Refused {
            reason: "plaintext-token",
            message: format!("the Job template of pool \"{}\" holds the organization's token as plain text", run.pool),
            fix: Some("take it out of the template: the agent gets it as the file AZP_TOKEN_FILE".to_owned()),
        })
    }

    /// The Secret that the agents' token is mounted from; it exists when this returns.
    async fn token_secret(&self) -> Result<SecretKey, HostError> {
        match &self.credential {
            Credential::Existing(secret) => Ok(secret.clone()),
            Credential::Managed(vault) => vault.current().await,
        }
    }

    fn expectations(&self) -> MutexGuard<'_, Expectations> {
        self.expectations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watching(&self) -> &Watching {
        self.watching
            .get_or_init(|| Watching::begin(&self.client, &self.namespace, self.installation.id(), &self.organization))
    }
}

impl AgentHost for KubernetesHost {
    async fn runs(&self) -> Result<Vec<Run>, HostError> {
        let listing = self.watching().listing().await?;
        self.chores().note(listing.failed, listing.mounted);
        self.settle_doubts().await;
        let mut runs = self.expectations().merge(listing.runs, self.clock.now());
        // Always in the same order, so that the same situation always leads to the same plan.
        runs.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(runs)
    }

    async fn start(&self, run: &StartRun) -> Result<Started, HostError> {
        let held = Held { by: self.identity.clone(), since: self.clock.now() };
        let made = match run.recipe {
            Recipe::JustInTime => self.make(run, Grant::Files(Some(&held)))?,
            Recipe::InitContainer => self.make(run, Grant::InitContainer(&self.token_secret().await?))?,
            Recipe::Token => self.make(run, Grant::Token(&self.token_secret().await?))?,
        };
        self.check_for_token(run, &made).await?;
        self.expectations().starting(run, self.clock.now());
        let asked = Instant::now();
        let created = self.create(run, &made).await;
        let mut expectations = self.expectations();
        match &created {
            Ok((started, job)) => {
                expectations.started(&run.name, job.created_at(), job.held());
                if *started == Started::Created {
                    self.grips.take(&run.name, job, asked);
                }
            }
            Err(HostError::Unavailable(_)) => expectations.in_doubt(&run.name, self.clock.now()),
            Err(_) => expectations.refused(&run.name, self.clock.now()),
        }
        created.map(|(started, _)| started)
    }

    async fn claim(&self, run: &EquipRun) -> Result<(), HostError> {
        self.claim_job(run).await
    }

    async fn equip(&self, name: &str, files: &AgentFiles) -> Result<(), HostError> {
        self.equip_job(name, files).await
    }

    async fn stop(&self, run: &StopRun) -> Result<(), HostError> {
        let Some((uid, seen)) = self.watching().view().job(&run.name) else {
            if self.expectations().expects(&run.name) {
                let message = format!("the Job \"{}\" is not seen yet; a later pass stops it", run.name);
                return Err(HostError::Unavailable(message));
            }
            return Ok(());
        };
        if run.reason == StopReason::NotNeeded {
            self.delete_unplaced(&run.name, &uid).await?;
        } else {
            // One that has changed is another run by now, which has taken the name.
            self.delete(&run.name, &uid, None).await?;
        }
        self.grips.let_go(&run.name);
        self.expectations().stopped(&run.name, seen.created_at, self.clock.now());
        Ok(())
    }

    async fn changed(&self) {
        self.watching().changed().await;
    }

    async fn mark_busy(&self, names: &BTreeSet<String>) -> Result<(), HostError> {
        self.mark_busy_pods(names).await
    }

    fn clock(&self) -> ServerClock {
        self.clock.clone()
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseView>, HostError> {
        let lease = NamedLease::new(self.client.clone(), &self.namespace, name);
        lease.get().await.map_err(|error| refused(error, &self.namespace))
    }

    async fn tidy(&self, _runs: &[Run]) -> Result<(), HostError> {
        self.do_chores().await
    }
}
