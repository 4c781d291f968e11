//! Agents as Kubernetes Jobs: one Job is one agent, which runs one pipeline job.
//!
//! All state is in the cluster. A Job says by labels and annotations whose it is and what it is for; its name decides
//! whether it is there already; its TTL puts it away even when no orchestrator runs any more.
//!
//! Rights in the namespace: Jobs get, list, create, patch; Secrets create, delete; ConfigMaps get, create, update; and
//! get on the namespace itself.

mod documents;
mod failure;
mod generations;
mod job;
mod keys;
mod prepare;
mod runs;
mod secret;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Client,
    api::{GetParams, PartialObjectMeta, Patch, PatchParams},
    core::Request,
};
use secrecy::ExposeSecret;
use serde_json::json;

pub use documents::DocumentProblem;
pub(super) use failure::refused;
pub use job::{DEFAULT_AGENT_IMAGE, TemplateError};
use job::{JobSettings, MadeJob, make_job};
pub use prepare::prepare;
use runs::{Listing, SlimJob, jobs_path};
use secret::Vault;

use super::{AgentHost, HostError, Started};
use crate::{
    cluster::{ErrorKind, call},
    config::{AgentSpec, Config, KubernetesConfig, SecretKey, TokenSource},
    core::{Installation, Purpose, Retention, Run, StartRun},
};

/// The shortest text that is recognized as a token; a shorter one may stand in a Job by chance.
const SHORTEST_TOKEN: usize = 8;

/// How many Jobs are patched at once.
const PATCHES_AT_ONCE: usize = 8;

/// How long tidying waits after it failed; it is never urgent.
const TIDY_PAUSE: Duration = Duration::from_secs(60);

/// Runs agents as Jobs of one namespace.
pub struct KubernetesHost {
    client: Client,
    namespace: String,
    installation: Installation,
    organization: String,
    retention: Retention,
    agents: BTreeMap<(String, String), AgentSpec>,
    docker_socket: Option<PathBuf>,
    token: TokenSource,
    credential: Credential,
    warnings: Vec<String>,
    chores: Mutex<Chores>,
}

/// Where the agents' token is mounted from.
enum Credential {
    /// A Secret that somebody brings.
    Existing(SecretKey),
    /// Secrets that we make.
    Managed(Box<Vault>),
}

/// What the last listing left to be tidied.
#[derive(Default)]
struct Chores {
    failed: Vec<(String, String, Option<i32>)>,
    /// `None` until the first listing.
    mounted: Option<BTreeSet<String>>,
    pause: Option<Instant>,
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
    ) -> Result<Self, HostError> {
        let credential = match &settings.token_secret {
            Some(secret) => Credential::Existing(secret.clone()),
            None => {
                let pools: Vec<_> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
                let user = generations::user(&config.organization.url, &pools);
                let token = config.organization.token.clone();
                let vault = Vault::new(client.clone(), &settings.namespace, &installation, user, token);
                Credential::Managed(Box::new(vault))
            }
        };
        let mut host = Self {
            client,
            namespace: settings.namespace.clone(),
            installation,
            organization: config.organization.url.clone(),
            retention: config.retention,
            agents: config.agents.clone(),
            docker_socket: settings.docker_socket.clone(),
            token: config.organization.token.clone(),
            credential,
            warnings: Vec::new(),
            chores: Mutex::default(),
        };
        host.warnings = host.try_templates()?;
        Ok(host)
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
        for (pool, template) in self.agents.keys() {
            let (pool, template) = (pool.clone(), template.clone());
            let run = StartRun {
                name: "try".to_owned(),
                pool,
                template,
                purpose: Purpose::Slot(0),
                attempt: 1,
                revision: String::new(),
            };
            warnings.extend(self.make(&run, &token)?.warnings);
        }
        Ok(warnings.into_iter().collect())
    }

    fn make(&self, run: &StartRun, token: &SecretKey) -> Result<MadeJob, HostError> {
        let Some(agent) = self.agents.get(&(run.pool.clone(), run.template.clone())) else {
            let message = format!("pool \"{}\" has no agent template \"{}\"", run.pool, run.template);
            return Err(HostError::Refused { reason: "template", message, fix: None });
        };
        let settings = JobSettings {
            installation: &self.installation,
            organization: &self.organization,
            namespace: &self.namespace,
            agent,
            token,
            docker_socket: self.docker_socket.as_deref(),
            retention: self.retention,
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

    /// Refuses a Job that would show the token to everyone who may see Jobs.
    fn check_for_token(&self, run: &StartRun, made: &MadeJob) -> Result<(), HostError> {
        let token = self.token.current().map_err(HostError::Credential)?;
        let token = token.expose_secret();
        if token.len() < SHORTEST_TOKEN || !job::contains_text(&made.job, token) {
            return Ok(());
        }
        Err(HostError::Refused {
            reason: "plaintext-token",
            message: format!("the Job template of pool \"{}\" holds the organization's token as plain text", run.pool),
            fix: Some("take it out of the template: the agent gets it as the file AZP_TOKEN_FILE".to_owned()),
        })
    }

    /// The name is taken: by the same run, or by somebody else?
    async fn whose(&self, run: &StartRun) -> Result<Started, HostError> {
        let what = format!("get the Job \"{}\" in namespace \"{}\"", run.name, self.namespace);
        let found = call(&what, async {
            let request = Request::new(jobs_path(&self.namespace));
            let request = request.get(&run.name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
            let text = self.client.request_text(request).await?;
            serde_json::from_str::<SlimJob>(&text).map_err(kube::Error::SerdeError)
        })
        .await;
        match found {
            Ok(job) => match job.belongs_to(&self.installation, &self.organization, &run.pool) {
                Ok(()) => Ok(Started::AlreadyThere),
                Err(owner) => Err(HostError::Collision { name: run.name.clone(), owner }),
            },
            Err(error) if error.kind == ErrorKind::NotFound => Err(HostError::Unavailable(format!(
                "the Job \"{}\" went away just now; the next pass starts it",
                run.name
            ))),
            Err(error) => Err(refused(error, &self.namespace)),
        }
    }

    /// Failed Jobs stay longer. They are made with the short TTL, which holds when we are gone; there is time enough
    /// to raise it.
    async fn keep_failed(&self, failed: Vec<(String, String, Option<i32>)>) -> Result<(), HostError> {
        let ttl = job::ttl_seconds(self.retention.failed);
        let api: &Api<PartialObjectMeta<Job>> = &Api::namespaced(self.client.clone(), &self.namespace);
        let patches = failed.into_iter().filter(|(.., known)| *known != Some(ttl)).map(|(name, uid, _)| async move {
            let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "spec": {"ttlSecondsAfterFinished": ttl}}));
            let what = format!("keep the failed Job \"{name}\" in namespace \"{}\"", self.namespace);
            call(&what, api.patch(&name, &PatchParams::default(), &patch)).await
        });
        let mut results = futures::stream::iter(patches).buffer_unordered(PATCHES_AT_ONCE);
        let mut outcome = Ok(());
        while let Some(result) = results.next().await {
            match result {
                // Gone, or another one of that name by now.
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => {}
                Err(error) if outcome.is_ok() => outcome = Err(refused(error, &self.namespace)),
                _ => {}
            }
        }
        outcome
    }

    fn chores(&self) -> MutexGuard<'_, Chores> {
        self.chores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AgentHost for KubernetesHost {
    async fn runs(&self) -> Result<Vec<Run>, HostError> {
        let listed = runs::list(&self.client, &self.namespace, &self.installation, &self.organization).await;
        let Listing { runs, failed, mounted } = listed.map_err(|error| refused(error, &self.namespace))?;
        let mut chores = self.chores();
        chores.failed = failed;
        chores.mounted = Some(mounted);
        Ok(runs)
    }

    async fn start(&self, run: &StartRun) -> Result<Started, HostError> {
        let secret = match &self.credential {
            Credential::Existing(secret) => secret.clone(),
            Credential::Managed(vault) => vault.current().await?,
        };
        let made = self.make(run, &secret)?;
        self.check_for_token(run, &made)?;
        let what = format!("create the Job \"{}\" in namespace \"{}\"", run.name, self.namespace);
        let created = call(&what, async {
            let body = serde_json::to_vec(&made.job).map_err(kube::Error::SerdeError)?;
            let request = Request::new(jobs_path(&self.namespace));
            let request = request.create(&keys::as_us(), body).map_err(kube::Error::BuildRequest)?;
            self.client.request_text(request).await.map(drop)
        })
        .await;
        match created {
            Ok(()) => Ok(Started::Created),
            Err(error) if error.kind == ErrorKind::AlreadyExists => self.whose(run).await,
            Err(error) => Err(refused(error, &self.namespace)),
        }
    }

    async fn tidy(&self, _runs: &[Run]) -> Result<(), HostError> {
        let (failed, mounted) = {
            let mut chores = self.chores();
            if chores.pause.is_some_and(|since| since.elapsed() < TIDY_PAUSE) {
                return Ok(());
            }
            (std::mem::take(&mut chores.failed), chores.mounted.take())
        };
        let kept = self.keep_failed(failed).await;
        let discarded = match (&self.credential, mounted) {
            (Credential::Managed(vault), Some(mounted)) => vault.discard(&mounted).await,
            _ => Ok(()),
        };
        let outcome = kept.and(discarded);
        self.chores().pause = outcome.is_err().then(Instant::now);
        outcome
    }
}
