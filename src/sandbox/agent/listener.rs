//! `run.sh`: a session, messages, one job at a time. With `--once` one job at all.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    AgentError, Stop, Surroundings,
    capabilities::{capabilities, computer, os_description},
    cipher::Cipher,
    client::Client,
    console::say,
    files::{self, AgentSettings},
    job::{Job, Site},
};
use crate::sandbox::AGENT_VERSION;

/// Another session of this agent may be one that is about to lapse: how often and how long to try.
const CONFLICT_DELAY: Duration = Duration::from_secs(30);
const CONFLICT_PATIENCE: Duration = Duration::from_secs(240);

/// The same for clocks that differ.
const SKEW_DELAY: Duration = Duration::from_secs(30);
const SKEW_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How long an agent without a job goes on without any answer from the server.
const SILENCE_PATIENCE: Duration = Duration::from_secs(120);
const SILENCE_DELAY: Duration = Duration::from_secs(1);

pub(super) async fn listen(once: bool, surroundings: &Surroundings, mut stop: Stop) -> Result<(), AgentError> {
    if !files::are_there(&surroundings.root) {
        return Err(AgentError::State("the agent is not configured; run config.sh first".to_owned()));
    }
    let settings = files::read_settings(&surroundings.root)?;
    let client = Client::new(&settings.server_url, files::read_credentials(&surroundings.root)?)?;
    let mut listener = Listener {
        site: Site::new(client.clone(), &settings, surroundings, once),
        client,
        settings,
        surroundings: surroundings.clone(),
        session: String::new(),
        cipher: Cipher::default(),
        last_message: 0,
        running: None,
        waiting: None,
    };
    if !listener.open(&mut stop).await? {
        return Ok(());
    }
    say("Listening for Jobs");
    let ended = listener.serve(once, &mut stop).await;
    listener.close().await;
    ended
}

/// A job that is being run.
struct Running {
    job_id: String,
    work: JoinHandle<()>,
    cancel: Option<oneshot::Sender<()>>,
}

struct Listener {
    client: Client,
    settings: AgentSettings,
    surroundings: Surroundings,
    site: Site,
    session: String,
    cipher: Cipher,
    last_message: i64,
    running: Option<Running>,
    /// A job that came while another was run.
    waiting: Option<Job>,
}

impl Listener {
    fn path(&self, rest: &str) -> String {
        format!("distributedtask/pools/{}/{rest}", self.settings.pool_id)
    }

    /// Opens a session; `false` if the agent was told to stop while it waited for another one to lapse, or for a clock. A call that is
    /// on its way is not broken off, for it might have opened a session that nobody would ever close.
    async fn open(&mut self, stop: &mut Stop) -> Result<bool, AgentError> {
        let body = json!({
            "ownerName": computer(&self.surroundings.environment),
            "agent": {
                "id": self.settings.agent_id,
                "name": self.settings.agent_name,
                "version": AGENT_VERSION,
                "osDescription": os_description(),
            },
            "systemCapabilities": capabilities(&self.settings.agent_name, &self.surroundings),
        });
        let started = Instant::now();
        let session = loop {
            let delay = match self.client.call(Method::POST, &self.path("sessions"), &[], Some(&body)).await {
                Ok(session) => break session,
                Err(error)
                    if error.is("TaskAgentSessionConflictException") && started.elapsed() < CONFLICT_PATIENCE =>
                {
                    say(&format!("A session for this agent already exists: {error}"));
                    CONFLICT_DELAY
                }
                Err(error) if error.is_clock_skew() && started.elapsed() < SKEW_PATIENCE => {
                    say(&format!("The clock of this machine and the server's differ: {error}"));
                    SKEW_DELAY
                }
                Err(error) => return Err(error.into()),
            };
            tokio::select! {
                () = &mut *stop => return Ok(false),
                () = sleep(delay) => {}
            }
        };
        self.session = session["sessionId"].as_str().unwrap_or_default().to_owned();
        self.last_message = 0;
        match Cipher::of(&session, self.client.key()) {
            Ok(cipher) => self.cipher = cipher,
            Err(error) => {
                self.close().await;
                return Err(error);
            }
        }
        Ok(true)
    }

    async fn close(&mut self) {
        let path = self.path(&format!("sessions/{}", self.session));
        if let Err(error) = self.client.call(Method::DELETE, &path, &[], None).await {
            say(&format!("Cannot close the session: {error}"));
        }
    }

    async fn serve(&mut self, once: bool, stop: &mut Stop) -> Result<(), AgentError> {
        let mut heard = Instant::now();
        loop {
            let ended = async {
                match &mut self.running {
                    // Of a job that panicked, the server hears when its lease lapses.
                    Some(running) => drop((&mut running.work).await),
                    None => std::future::pending().await,
                }
            };
            let path = format!("distributedtask/pools/{}/messages", self.settings.pool_id);
            let last = self.last_message.to_string();
            let query = [("sessionId", self.session.as_str()), ("lastMessageId", last.as_str())];
            let message = tokio::select! {
                biased;
                () = &mut *stop => {
                    say("The agent has received a shutdown signal.");
                    self.stop_job().await;
                    return Ok(());
                }
                () = ended => {
                    self.running = None;
                    if once {
                        return Ok(());
                    }
                    if let Some(job) = self.waiting.take() {
                        self.begin(job);
                    }
                    continue;
                }
                message = self.client.poll(&path, &query) => message,
            };
            match message {
                Ok(Value::Null) => heard = Instant::now(),
                Ok(message) => {
                    heard = Instant::now();
                    self.take(&message, once).await?;
                }
                Err(error) if error.is("TaskAgentSessionExpiredException") => {
                    if !self.open(stop).await? {
                        self.stop_job().await;
                        return Ok(());
                    }
                }
                Err(error) if error.is_final() => return Err(error.into()),
                Err(error) if self.running.is_none() && heard.elapsed() > SILENCE_PATIENCE => return Err(error.into()),
                Err(error) => {
                    say(&format!("Cannot get messages: {error}"));
                    sleep(SILENCE_DELAY).await;
                }
            }
        }
    }

    /// Does what a message says. A second job for a once-agent is left where it is.
    async fn take(&mut self, message: &Value, once: bool) -> Result<(), AgentError> {
        let id = message["messageId"].as_i64().unwrap_or_default();
        self.last_message = id;
        let body = self.cipher.open(message)?;
        match message["messageType"].as_str().unwrap_or_default() {
            "PipelineAgentJobRequest" => match serde_json::from_str::<Job>(&body) {
                Ok(_) if once && self.running.is_some() => return Ok(()),
                Ok(job) if self.running.is_some() => self.waiting = Some(job),
                Ok(job) => self.begin(job),
                Err(error) => say(&format!("Cannot read a job: {error}")),
            },
            "JobCancelMessage" => self.cancel(&body),
            other => say(&format!("Ignored a message of the type {other}")),
        }
        let path = self.path(&format!("messages/{id}"));
        let query = [("sessionId", self.session.as_str())];
        if let Err(error) = self.client.call(Method::DELETE, &path, &query, None).await {
            say(&format!("Cannot delete message {id}: {error}"));
        }
        Ok(())
    }

    fn begin(&mut self, job: Job) {
        let (cancel, canceled) = oneshot::channel();
        self.running = Some(Running {
            job_id: job.job_id.clone(),
            work: tokio::spawn(job.run(self.site.clone(), canceled)),
            cancel: Some(cancel),
        });
    }

    fn cancel(&mut self, body: &str) {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let job_id = body["jobId"].as_str().unwrap_or_default();
        if self.waiting.as_ref().is_some_and(|job| job.job_id == job_id) {
            self.waiting = None;
        }
        if let Some(running) = self.running.as_mut().filter(|running| running.job_id == job_id) {
            running.cancel();
        }
    }

    async fn stop_job(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.cancel();
            let _ = (&mut running.work).await;
        }
    }
}

impl Running {
    fn cancel(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            let _ = cancel.send(());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.work.abort();
    }
}
