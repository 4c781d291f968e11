//! One job request in the agent's hands: taken by the first renewal, held by the following ones, its steps run, its
//! result reported.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::MissedTickBehavior};

use super::{
    AgentError, Surroundings, answer::ClientError, client::Client, console::say, files::AgentSettings,
    reports::Reports, worker::Worker,
};
use crate::sandbox::http::RENEW_SECONDS;

/// The version of plans since which the worker says that a job has ended.
const JOB_COMPLETED_SINCE: u32 = 8;

/// Never used by anybody, but part of the call.
const LOCK_TOKEN: &str = "00000000-0000-0000-0000-000000000000";

/// How often a real agent renews.
const RENEW_EVERY: Duration = Duration::from_secs(60);

/// What the steps get to know of the agent's environment.
const PASSED_ON: [&str; 9] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "SHELL", "TERM", "TMPDIR", "TZ"];

/// The body of a PipelineAgentJobRequest, as far as it is of use here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    pub(super) job_id: String,
    request_id: i64,
    #[serde(default)]
    job_display_name: String,
    #[serde(default)]
    plan: Plan,
    #[serde(default)]
    timeline: Timeline,
    #[serde(default)]
    resources: Resources,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    #[serde(default)]
    steps: Vec<JobStep>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Plan {
    definition: Definition,
    scope_identifier: String,
    plan_id: String,
    plan_type: String,
    version: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Timeline {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    name: String,
    authorization: EndpointAuthorization,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointAuthorization {
    parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Parameters {
    #[serde(deserialize_with = "secret")]
    access_token: Option<SecretString>,
}

fn secret<'de, D: Deserializer<'de>>(text: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(text)?.map(SecretString::from))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Definition {
    id: i64,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Variable {
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobStep {
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    inputs: BTreeMap<String, String>,
}

/// Where and for whom a job is run.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) client: Client,
    pub(super) pool: i64,
    pub(super) agent: String,
    pub(super) root: PathBuf,
    pub(super) work: PathBuf,
    pub(super) environment: BTreeMap<String, String>,
    /// The agent takes no other request after this one.
    pub(super) once: bool,
}

impl Site {
    pub(super) fn new(client: Client, settings: &AgentSettings, surroundings: &Surroundings, once: bool) -> Self {
        Self {
            client,
            pool: settings.pool_id,
            agent: settings.agent_name.clone(),
            root: surroundings.root.clone(),
            work: surroundings.root.join(&settings.work_folder),
            environment: surroundings.environment.clone(),
            once,
        }
    }
}

impl Job {
    /// Runs the job until it has ended, or `canceled` resolves and it has stopped.
    pub(super) async fn run(self, site: Site, canceled: oneshot::Receiver<()>) {
        say(&format!("Running job: {}", self.job_display_name));
        // One that is not ours (any more) is none of our business.
        match self.renew(&site).await {
            Ok(()) => {}
            Err(error) => return say(&format!("Cannot take job {}: {error}", self.job_display_name)),
        }
        let reports = match Reports::of(&self, &site.client) {
            Ok(reports) => reports,
            // Without a connection of its own a real worker ends at once; the server hears of it when the lease lapses.
            Err(error) => return say(&format!("Cannot run job {}: {error}", self.job_display_name)),
        };
        let result = match self.start(&site) {
            Ok(worker) => {
                let (result, ()) = tokio::join!(self.attend(&site, worker, canceled), reports.begin());
                result
            }
            Err(error) => {
                say(&format!("Cannot start job {}: {error}", self.job_display_name));
                Some("failed")
            }
        };
        if let Some(result) = result {
            reports.end(result).await;
            self.finish(&site, &reports, result).await;
        }
    }

    fn start(&self, site: &Site) -> Result<Worker, AgentError> {
        let folder = site.work.join(self.plan.definition.id.to_string()).join("s");
        let failed = |error| AgentError::Io(folder.display().to_string(), error);
        fs::create_dir_all(&folder).map_err(failed)?;
        let script = |step: &'_ JobStep| step.inputs.get("script").cloned().unwrap_or_default();
        let steps: Vec<(String, String)> =
            self.steps.iter().map(|step| (step.display_name.clone(), script(step))).collect();
        let steps = steps.iter().map(|(name, script)| (name.as_str(), script.as_str()));
        Worker::start(&site.root, steps, &folder, &self.environment(site, &folder)).map_err(failed)
    }

    fn environment(&self, site: &Site, folder: &std::path::Path) -> BTreeMap<String, String> {
        let passed_on = PASSED_ON.iter().filter_map(|&name| Some((name, site.environment.get(name)?.clone())));
        let own = [
            ("TF_BUILD", "True".to_owned()),
            ("AGENT_NAME", site.agent.clone()),
            ("AGENT_JOBNAME", self.job_display_name.clone()),
            ("AGENT_WORKFOLDER", site.work.display().to_string()),
            ("BUILD_DEFINITIONNAME", self.plan.definition.name.clone()),
            ("BUILD_SOURCESDIRECTORY", folder.display().to_string()),
            ("SYSTEM_JOBID", self.job_id.clone()),
        ];
        passed_on.chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The token by which its worker reports.
    pub(super) fn token(&self) -> Option<&SecretString> {
        let connection = self.resources.endpoints.iter().find(|endpoint| endpoint.name == "SystemVssConnection");
        connection?.authorization.parameters.access_token.as_ref()
    }

    /// The path of its plan, below the organization.
    pub(super) fn plan_path(&self) -> String {
        let Plan { scope_identifier, plan_id, plan_type, .. } = &self.plan;
        format!("{scope_identifier}/_apis/distributedtask/hubs/{}/plans/{plan_id}", plan_type.to_lowercase())
    }

    /// The path of its timeline.
    pub(super) fn timeline_path(&self) -> String {
        format!("{}/timelines/{}", self.plan_path(), self.timeline.id)
    }

    /// Renews while the steps run. The result, or `None` if somebody else has decided on it.
    async fn attend(
        &self,
        site: &Site,
        mut worker: Worker,
        mut canceled: oneshot::Receiver<()>,
    ) -> Option<&'static str> {
        let period = self.renew_every();
        let mut renewals = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                succeeded = worker.finished() => return Some(if succeeded { "succeeded" } else { "failed" }),
                _ = &mut canceled => {
                    worker.stop().await;
                    return Some("canceled");
                }
                _ = renewals.tick() => match self.renew(site).await {
                    Err(error) if error.is_lost_job() => {
                        say(&format!("Lost job {}: {error}", self.job_display_name));
                        worker.stop().await;
                        return None;
                    }
                    // The lease outlasts several renewals.
                    Err(error) => say(&format!("Cannot renew job {}: {error}", self.job_display_name)),
                    Ok(()) => {}
                },
            }
        }
    }

    async fn renew(&self, site: &Site) -> Result<(), ClientError> {
        let body = json!({ "requestId": self.request_id });
        let query = [("lockToken", LOCK_TOKEN)];
        site.client.call(Method::PATCH, &self.path(site), &query, Some(&body)).await.map(|_| ())
    }

    /// Says that the job has ended: its worker does, or for an old plan the agent.
    async fn finish(&self, site: &Site, reports: &Reports, result: &str) {
        let finished: Result<Value, ClientError> = if self.plan.version < JOB_COMPLETED_SINCE {
            let body = json!({ "requestId": self.request_id, "result": result });
            site.client.call(Method::PATCH, &self.path(site), &[("lockToken", LOCK_TOKEN)], Some(&body)).await
        } else {
            reports.complete(self.request_id, result, site.once).await
        };
        match finished {
            Ok(_) => say(&format!("Job {} completed with result: {result}", self.job_display_name)),
            // An answer that was lost shows as a job that has ended.
            Err(error) => say(&format!("Job {} ended with {result}: {error}", self.job_display_name)),
        }
    }

    fn path(&self, site: &Site) -> String {
        format!("distributedtask/pools/{}/jobrequests/{}", site.pool, self.request_id)
    }

    fn renew_every(&self) -> Duration {
        let wanted = self.variables.get(RENEW_SECONDS).and_then(|variable| variable.value.parse().ok());
        let wanted = wanted.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        wanted.filter(|period| !period.is_zero()).unwrap_or(RENEW_EVERY)
    }
}
