//! An agent: it registers, waits for a job, does it, and goes. Whoever drops it pulls the plug.

use std::time::Duration;

use kubectl_ado::{
    core::INSTALLATION_CAPABILITY,
    sandbox::{
        AgentSpec, JobResult, Refusal,
        state::{MessageContent, SessionDraft},
    },
};
use tokio::{
    sync::watch::Receiver,
    time::{Instant, sleep, sleep_until},
};

use crate::{organization::Organization, secrets::Files};

/// Who an agent is, and how it goes about its life.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) pool: String,
    pub(crate) name: String,
    pub(crate) installation: String,
    /// From the message to the first renewal.
    pub(crate) takes_up: Duration,
    pub(crate) work: Duration,
    /// Whether it removes its registration when it has done its job.
    pub(crate) removes_itself: bool,
    /// By what it is registered already.
    pub(crate) files: Option<Files>,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    /// Its files let it be nobody.
    Refused,
}

/// How often an agent that is refused tries again, and for how long between two tries.
const TRIES: u32 = 5;
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// A whole life.
pub(crate) async fn live(organization: &Organization, plan: &Plan) -> End {
    let registered = match &plan.files {
        None => register(organization, plan),
        Some(files) => match sign_in(organization, plan, files).await {
            None => return End::Refused,
            registered => registered,
        },
    };
    let Some((pool, agent)) = registered else { return End::Well };
    let Some(mut session) = Session::open(organization, pool, agent).await else { return End::Well };
    session.serve(plan).await;
    drop(session);
    if plan.removes_itself && plan.files.is_none() {
        let _ = organization.change(|state, now| state.remove_agent(pool, agent, now));
    }
    End::Well
}

/// The pool and the agent that the files let it be.
async fn sign_in(organization: &Organization, plan: &Plan, files: &Files) -> Option<(i64, i64)> {
    for _ in 0..TRIES {
        let found = organization.see(|state| files.fit(state, &plan.pool, &plan.name));
        if found.is_some() {
            return found;
        }
        sleep(TRY_AGAIN).await;
    }
    None
}

fn register(organization: &Organization, plan: &Plan) -> Option<(i64, i64)> {
    organization.change(|state, now| {
        let pool = state.pool_named(&plan.pool)?.id;
        let spec = AgentSpec::named(&plan.name).with(INSTALLATION_CAPABILITY, &plan.installation);
        match state.register(pool, spec.clone(), now) {
            Ok(agent) => Some((pool, agent)),
            Err(_) => {
                let known = state.pool(pool).ok()?.agents().find(|agent| agent.name == plan.name)?.id;
                state.replace(pool, known, spec, now).ok()?;
                Some((pool, known))
            }
        }
    })
}

/// An open session, polled for as long as it lives.
struct Session<'a> {
    organization: &'a Organization,
    pool: i64,
    id: String,
    /// Whether the agent said good-bye.
    closes: bool,
}

impl<'a> Session<'a> {
    async fn open(organization: &'a Organization, pool: i64, agent: i64) -> Option<Self> {
        loop {
            let draft = SessionDraft { agent, ..SessionDraft::default() };
            match organization.change(|state, now| state.open_session(pool, draft, now)) {
                Ok(id) => {
                    let _ = organization.change(|state, now| state.begin_poll(pool, &id, now));
                    return Some(Self { organization, pool, id, closes: false });
                }
                Err(Refusal::SessionConflict(_)) => sleep(Duration::from_secs(5)).await,
                Err(_) => return None,
            }
        }
    }

    /// Waits for a job and does it. Ends as well when the session is gone.
    async fn serve(&mut self, plan: &Plan) {
        let mut versions = self.organization.versions();
        let mut last = 0;
        while let Ok((message, content)) = self.next(&mut versions, last).await {
            last = message;
            let MessageContent::Job(request) = content else { continue };
            sleep(plan.takes_up).await;
            // A job that was cancelled meanwhile is nobody's; the next one may come.
            if self.organization.change(|state, now| state.renew(self.pool, request, now).is_ok()) {
                let result = self.work(&mut versions, last, plan.work).await;
                let _ = self.organization.change(|state, now| state.finish(self.pool, request, result, true, now));
                break;
            }
        }
        self.closes = true;
    }

    async fn work(&self, versions: &mut Receiver<u64>, last: i64, time: Duration) -> JobResult {
        let done = Instant::now() + time;
        let mut last = last;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(done) => return JobResult::Succeeded,
                message = self.next(versions, last) => match message {
                    Ok((_, MessageContent::Cancel(_))) => return JobResult::Canceled,
                    Ok((message, MessageContent::Job(_))) => last = message,
                    Err(_) => {
                        sleep_until(done).await;
                        return JobResult::Succeeded;
                    }
                },
            }
        }
    }

    async fn next(&self, versions: &mut Receiver<u64>, last: i64) -> Result<(i64, MessageContent), Refusal> {
        loop {
            versions.borrow_and_update();
            let next = self.organization.change(|state, now| state.next_message(self.pool, &self.id, last, now))?;
            if let Some(message) = next {
                return Ok((message.id, message.content));
            }
            let _ = versions.changed().await;
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.organization.change(|state, now| {
            state.end_poll(self.pool, &self.id, now);
            if self.closes {
                let _ = state.close_session(self.pool, &self.id, now);
            }
        });
    }
}
