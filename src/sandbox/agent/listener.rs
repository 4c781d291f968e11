//! `run.sh`: a session, messages, one job at a time. With `--once` one job at all. The calls come in the order of the real
//! agent's, and it gives up where that does: before a first connection at once, later only when the server says that the
//! agent or its pool is gone.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    AgentError, ServiceError, Stop, Surroundings,
    answer::ClientError,
    capabilities::{capabilities, computer, os_description},
    cipher::Cipher,
    client::Client,
    console::say,
    files::{self, AgentSettings},
    job::{Job, Site},
};
use crate::sandbox::{AGENT_VERSION, http::POLL_PAUSE};

/// Another session of this agent may be one that is about to lapse: how often and how long to try.
const CONFLICT_DELAY: Duration = Duration::from_secs(30);
const CONFLICT_PATIENCE: Duration = Duration::from_secs(240);

/// The same for clocks that differ.
const SKEW_DELAY: Duration = Duration::from_secs(30);
const SKEW_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How long it waits after any other failure to open a session, as often as it takes.
const RETRY_DELAY: Duration = Duration::from_secs(30);

/// How long a real agent pauses after a poll without a message, at least and at most, in seconds.
const PAUSE: (f64, f64) = (5.0, 15.0);

/// However short the pauses are that a sandbox wants, it is not asked without any.
const LEAST_PAUSE: Duration = Duration::from_millis(200);

/// A flag that the real agent asks for before its session.
const FEATURE_FLAG: &str = "FeatureFlags/DistributedTask.Agent.EnableIssueSourceValidation";

/// Whether asking again would change nothing, as the real agent sees it. A token that is refused may be good again.
fn is_final(error: &ClientError) -> bool {
    [
        "TaskAgentNotFoundException",
        "TaskAgentPoolNotFoundException",
        "AccessDeniedException",
        "VssUnauthorizedException",
    ]
    .iter()
    .any(|key| error.is(key))
}

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
        pause: PAUSE,
        keep_alive: None,
    };
    listener.connect().await.map_err(|error| AgentError::NoConnection(ServiceError(error.to_string())))?;
    if !listener.open(&mut stop).await? {
        return Ok(());
    }
    say("Listening for Jobs");
    let ended = listener.serve(once, &mut stop).await;
    listener.keep_alive = None;
    if let Ok(End::Revoked) = ended {
        // There is nothing left to close. For whoever started the agent it has done well.
        say("Agent OAuth token has been revoked. Shutting down.");
        return Ok(());
    }
    listener.close().await;
    ended.map(|_| ())
}

/// How an agent comes to an end that is no error.
enum End {
    Done,
    /// Its registration was deleted.
    Revoked,
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
    /// How long it pauses after a poll without a message: at least and at most, in seconds.
    pause: (f64, f64),
    keep_alive: Option<KeepAlive>,
}

/// A second poll beside the one for messages, which shows that the agent is there. What it hears is left to the first.
struct KeepAlive(JoinHandle<()>);

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn random((least, most): (f64, f64)) -> Duration {
    Duration::try_from_secs_f64(least + fastrand::f64() * (most - least)).unwrap_or_default()
}

impl Listener {
    fn path(&self, rest: &str) -> String {
        format!("distributedtask/pools/{}/{rest}", self.settings.pool_id)
    }

    /// The first connection.
    async fn connect(&self) -> Result<(), ClientError> {
        self.client.greet().await?;
        self.client.call(Method::GET, "connectionData", &[], None).await?;
        // What comes of these changes nothing.
        let events = json!([{ "area": "AzurePipelinesAgent", "feature": "AgentListener", "properties": {} }]);
        let _ = self.client.try_call(Method::POST, "customerintelligence/Events", Some(&events)).await;
        let _ = self.client.try_call(Method::GET, FEATURE_FLAG, None).await;
        Ok(())
    }

    /// Connects once for each kind of calls to come, asks where what is, and opens the session.
    async fn create_session(&self, body: &Value) -> Result<Value, ClientError> {
        for _ in 0..3 {
            self.client.call(Method::GET, "connectionData", &[], None).await?;
        }
        self.client.call(Method::OPTIONS, "", &[], None).await?;
        self.client.call(Method::POST, &self.path("sessions"), &[], Some(body)).await
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
            let error = match self.create_session(&body).await {
                Ok(session) => break session,
                Err(error) => error,
            };
            say(&format!("Cannot open a session: {error}"));
            let delay = if error.is("TaskAgentSessionConflictException") {
                Some(CONFLICT_DELAY).filter(|_| started.elapsed() < CONFLICT_PATIENCE)
            } else if error.is_clock_skew() {
                Some(SKEW_DELAY).filter(|_| started.elapsed() < SKEW_PATIENCE)
            } else {
                Some(RETRY_DELAY).filter(|_| !is_final(&error) && !error.is_revoked())
            };
            let Some(delay) = delay else { return Err(error.into()) };
            tokio::select! {
                () = &mut *stop => return Ok(false),
                () = sleep(delay) => {}
            }
        };
        self.session = session["sessionId"].as_str().unwrap_or_default().to_owned();
        self.last_message = 0;
        let announced = &session[POLL_PAUSE];
        if let (Some(least), Some(most)) = (announced[0].as_f64(), announced[1].as_f64()) {
            self.pause = (least, most);
        }
        self.keep_alive = Some(self.keep_alive());
        match Cipher::of(&session, self.client.key()) {
            Ok(cipher) => self.cipher = cipher,
            Err(error) => {
                self.close().await;
                return Err(error);
            }
        }
        Ok(true)
    }

    fn keep_alive(&self) -> KeepAlive {
        let (client, path, session) = (self.client.clone(), self.path("messages"), self.session.clone());
        let pause = self.pause;
        KeepAlive(tokio::spawn(async move {
            loop {
                let _ = client.poll(&path, &[("sessionId", session.as_str())]).await;
                // A message that is there already comes at once, and stays until the other poll has it.
                sleep(random(pause).max(LEAST_PAUSE)).await;
            }
        }))
    }

    async fn close(&mut self) {
        let path = self.path(&format!("sessions/{}", self.session));
        if let Err(error) = self.client.call(Method::DELETE, &path, &[], None).await {
            say(&format!("Cannot close the session: {error}"));
        }
    }

    async fn serve(&mut self, once: bool, stop: &mut Stop) -> Result<End, AgentError> {
        let path = self.path("messages");
        let mut pause = Duration::ZERO;
        let mut skewed: Option<Instant> = None;
        loop {
            let ended = async {
                match &mut self.running {
                    // Of a job that panicked, the server hears when its lease lapses.
                    Some(running) => drop((&mut running.work).await),
                    None => std::future::pending().await,
                }
            };
            let last = self.last_message.to_string();
            let query = [("sessionId", self.session.as_str()), ("lastMessageId", last.as_str())];
            let poll = async {
                sleep(pause).await;
                self.client.poll(&path, &query).await
            };
            let message = tokio::select! {
                biased;
                () = &mut *stop => {
                    say("The agent has received a shutdown signal.");
                    self.stop_job().await;
                    return Ok(End::Done);
                }
                () = ended => {
                    self.running = None;
                    if once {
                        return Ok(End::Done);
                    }
                    if let Some(job) = self.waiting.take() {
                        self.begin(job);
                    }
                    continue;
                }
                message = poll => message,
            };
            pause = Duration::ZERO;
            if !matches!(&message, Err(error) if error.is_clock_skew()) {
                skewed = None;
            }
            match message {
                Ok(Value::Null) => pause = random(self.pause),
                Ok(message) => self.take(&message, once).await?,
                Err(error) if error.is("TaskAgentSessionExpiredException") => {
                    if !self.open(stop).await? {
                        self.stop_job().await;
                        return Ok(End::Done);
                    }
                }
                Err(error) if error.is_revoked() => return Ok(End::Revoked),
                Err(error) if is_final(&error) => return Err(error.into()),
                Err(error)
                    if error.is_clock_skew() && skewed.get_or_insert_with(Instant::now).elapsed() > SKEW_PATIENCE =>
                {
                    return Err(error.into());
                }
                // However long the server is silent or refuses the agent's key.
                Err(error) => {
                    say(&format!("Cannot get messages: {error}"));
                    pause = random(self.pause).max(LEAST_PAUSE);
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
