//! An agent: it registers or is registered, waits for a job, does it, and goes. Whoever drops it pulls the plug.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kubectl_ado::{
    core::INSTALLATION_CAPABILITY,
    sandbox::{
        AgentSpec, JobResult, Refusal,
        state::{MessageContent, SessionDraft},
    },
};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    books::variable,
    organization::{Organization, has_key},
    versions::Waiter,
};

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
    /// Those of a just-in-time agent.
    pub(crate) files: Option<Files>,
    /// How long it goes on after it has removed its registration.
    pub(crate) lingers: Duration,
    /// How many variables of its environment it tells of, each a capability.
    pub(crate) variables: usize,
}

/// A step in an agent's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Online,
    Received,
    Done,
}

/// The files of an agent that is registered already, as far as they are read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) pool: i64,
    pub(crate) agent: i64,
    pub(crate) serial: String,
}

impl Files {
    /// The Secret that a pod mounts them from, if its agent is a just-in-time one.
    pub(crate) fn secret_of(pod_spec: &Value) -> Option<&str> {
        variable(&pod_spec["containers"][0], "AZP_AGENT_FILES")?;
        pod_spec["volumes"].as_array()?.iter().find_map(|volume| volume["secret"]["secretName"].as_str())
    }

    /// Reads them from that Secret.
    pub(crate) fn of(secret: &Value) -> Self {
        let file = |name: &str| -> Value {
            let text = STANDARD.decode(secret["data"][name].as_str().unwrap()).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        let (settings, key) = (file(".agent"), file(".credentials_rsaparams"));
        Self {
            pool: settings["poolId"].as_i64().unwrap(),
            agent: settings["agentId"].as_i64().unwrap(),
            serial: key["modulus"].as_str().unwrap().to_owned(),
        }
    }
}

/// That the organization knows no such agent, or another key of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CannotSignIn;

/// A whole life. One that has files is this one agent and no other: it neither registers nor removes itself.
/// `takes` is told of each step.
pub(crate) async fn live(
    organization: &Organization,
    plan: &Plan,
    takes: &(impl Fn(Step) + Sync),
) -> Result<(), CannotSignIn> {
    if let Some(Files { pool, agent, serial }) = &plan.files {
        if !organization.see(|state| has_key(state, *pool, *agent, serial)) {
            return Err(CannotSignIn);
        }
        let Some(mut session) = Session::open(organization, *pool, *agent).await else { return Err(CannotSignIn) };
        takes(Step::Online);
        session.serve(plan, takes).await;
        return Ok(());
    }
    let Some((pool, agent)) = register(organization, plan) else { return Ok(()) };
    let Some(mut session) = Session::open(organization, pool, agent).await else { return Ok(()) };
    takes(Step::Online);
    session.serve(plan, takes).await;
    drop(session);
    if plan.removes_itself {
        let _ = organization.change(|state, now| state.remove_agent(pool, agent, now));
        sleep(plan.lingers).await;
    }
    Ok(())
}

fn register(organization: &Organization, plan: &Plan) -> Option<(i64, i64)> {
    let pool = organization.pool_named(&plan.pool)?;
    organization.change(|state, now| {
        let mut spec = AgentSpec::named(&plan.name).with(INSTALLATION_CAPABILITY, &plan.installation);
        for number in 0..plan.variables {
            spec = spec.with(format!("SERVICE_{number}_PORT_443_TCP_ADDR"), format!("{number:0>40}"));
        }
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
    async fn serve(&mut self, plan: &Plan, takes: &(impl Fn(Step) + Sync)) {
        let mut waiter = self.organization.waiter();
        let mut last = 0;
        while let Ok((message, content)) = self.next(&mut waiter, last).await {
            last = message;
            let MessageContent::Job(request) = content else { continue };
            sleep(plan.takes_up).await;
            // A job that was cancelled meanwhile is nobody's; the next one may come.
            if self.organization.change(|state, now| state.renew(self.pool, request, now).is_ok()) {
                takes(Step::Received);
                let result = self.work(&mut waiter, last, plan.work).await;
                takes(Step::Done);
                let _ = self.organization.change(|state, now| state.finish(self.pool, request, result, true, now));
                break;
            }
        }
        self.closes = true;
    }

    async fn work(&self, waiter: &mut Waiter, last: i64, time: Duration) -> JobResult {
        let done = Instant::now() + time;
        let mut last = last;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(done) => return JobResult::Succeeded,
                message = self.next(waiter, last) => match message {
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

    async fn next(&self, waiter: &mut Waiter, last: i64) -> Result<(i64, MessageContent), Refusal> {
        loop {
            waiter.look();
            let next = self.organization.change(|state, now| state.next_message(self.pool, &self.id, last, now))?;
            if let Some(message) = next {
                return Ok((message.id, message.content));
            }
            waiter.changed().await;
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
