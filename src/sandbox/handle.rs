//! The handle: what the process that runs a sandbox can do with it, besides calling its REST API.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use tokio::{runtime::Handle, task::AbortHandle};

use super::{
    faults::Fault,
    http::{Shared, serve},
    package::Package,
    served,
    settings::{AgentScripts, Settings},
    sign_ins::Assertions,
    state::{Agent, AgentRecord, AgentSpec, JobSpec, PoolSpec, Refusal, Request, State},
};

/// A running sandbox. Clones are the same one; it stops when the last is dropped.
#[derive(Clone, Debug)]
pub struct Sandbox {
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sandbox {
    /// Starts a sandbox on this address; port 0 is any free one. Has to be called within a tokio runtime, on which
    /// it then runs.
    ///
    /// # Errors
    ///
    /// The address is not free, or there is no runtime.
    pub fn start(listen: SocketAddr, settings: Settings) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let program = match &settings.agent_program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        let package = match &settings.agent_scripts {
            Some(AgentScripts { config, run }) => Package::of_scripts(config, run)?,
            None => Package::new(&program)?,
        };
        let shared = Arc::new(Shared::new(settings, package));
        let (listener, address) = served::listen(listen)?;
        let task = runtime.spawn(serve(Arc::clone(&shared), listener)).abort_handle();
        Ok(Self { server: Arc::new(Server { shared, address, task }) })
    }

    /// Stops it now: its port is closed, and so are its connections. What it held can still be looked at.
    pub fn stop(&self) {
        self.server.task.abort();
    }

    /// The organization's URL on this machine. One that listens everywhere is reached from elsewhere by whatever
    /// address this machine has there.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/{}", served::here(self.server.address), self.shared().settings.organization)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The personal access token that it accepts.
    #[must_use]
    pub fn token(&self) -> &str {
        self.shared().settings.token.expose_secret()
    }

    /// Accepts tokens of Entra: `who` names the user that a token is of, and `None` is nobody (any more). As in Azure DevOps
    /// they come as Bearer or as the password of Basic, and are looked at anew with each call.
    pub fn accept_tokens(&self, who: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        self.shared().set_users(who);
    }

    /// Makes a pool and returns its number.
    ///
    /// # Errors
    ///
    /// The name is taken.
    pub fn add_pool(&self, spec: impl Into<PoolSpec>) -> Result<i64, Refusal> {
        self.shared().with(|state, now| state.add_pool(spec.into(), now))
    }

    /// Gives a pool another name; its number, agents and requests stay.
    ///
    /// # Errors
    ///
    /// No such pool, or the name is taken.
    pub fn rename_pool(&self, pool: i64, name: impl Into<String>) -> Result<(), Refusal> {
        self.shared().with(|state, now| state.rename_pool(pool, name.into(), now))
    }

    /// Deletes a pool with its agents; its unfinished requests are canceled. A pool that is made again with the same name
    /// has another number.
    ///
    /// # Errors
    ///
    /// No such pool.
    pub fn remove_pool(&self, pool: i64) -> Result<(), Refusal> {
        self.shared().with(|state, now| state.remove_pool(pool, now))
    }

    /// Registers an agent that is offline: a placeholder. Returns its number.
    ///
    /// # Errors
    ///
    /// No such pool, or the name is taken.
    pub fn add_agent(&self, pool: i64, spec: AgentSpec) -> Result<i64, Refusal> {
        self.shared().with(|state, now| state.register(pool, spec, now))
    }

    /// Registers an agent as one that was registered so long ago and has been offline since.
    ///
    /// # Errors
    ///
    /// As [`Self::add_agent`].
    pub fn add_old_agent(&self, pool: i64, spec: AgentSpec, age: Duration) -> Result<i64, Refusal> {
        self.shared().with(|state, now| {
            let id = state.register(pool, spec, now)?;
            state.backdate(pool, id, now.checked_sub(age).unwrap_or(Timestamp::MIN))?;
            Ok(id)
        })
    }

    /// Removes an agent.
    ///
    /// # Errors
    ///
    /// No such agent, or it has a job request.
    pub fn remove_agent(&self, pool: i64, agent: i64) -> Result<(), Refusal> {
        self.shared().with(|state, now| state.remove_agent(pool, agent, now))
    }

    /// Queues a pipeline job and returns the number of its request. One that nobody could ever serve has failed then.
    ///
    /// # Errors
    ///
    /// No such pool.
    pub fn queue(&self, pool: i64, job: JobSpec) -> Result<i64, Refusal> {
        self.shared().with(|state, now| state.queue(pool, job, now))
    }

    /// Cancels a job request.
    ///
    /// # Errors
    ///
    /// No such job request.
    pub fn cancel(&self, request: i64) -> Result<(), Refusal> {
        self.shared().with(|state, now| state.cancel(request, now))
    }

    /// Sets how many private requests may run at once; `None` is no limit.
    pub fn set_parallel_jobs(&self, limit: Option<u32>) {
        self.shared().with(|state, now| state.set_parallel_jobs(limit, now));
    }

    /// A job request as it is now.
    #[must_use]
    pub fn request(&self, id: i64) -> Option<Request> {
        self.shared().see(|state| state.find_request(id).cloned())
    }

    /// All job requests that were ever queued, finished or not.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared().see(|state| state.requests().cloned().collect())
    }

    /// The agents that are registered in a pool; none if there is no such pool.
    #[must_use]
    pub fn agents(&self, pool: i64) -> Vec<Agent> {
        self.shared().see(|state| state.pool(pool).map(|pool| pool.agents().cloned().collect()).unwrap_or_default())
    }

    /// Every agent that was ever registered.
    #[must_use]
    pub fn history(&self) -> Vec<AgentRecord> {
        self.shared().see(|state| state.history().cloned().collect())
    }

    /// The most agents that were online at once.
    #[must_use]
    pub fn peak_online_agents(&self) -> usize {
        self.shared().see(State::peak_online_agents)
    }

    /// Looks at the whole state as it is now. Nothing else happens meanwhile: be brief, and do not use the handle.
    pub fn see<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.shared().see(look)
    }

    /// Does something with the whole state at this moment, by the organization's clock. Nothing else happens meanwhile: be
    /// brief, and do not use the handle.
    pub fn change<T>(&self, act: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        self.shared().with(act)
    }

    /// Waits until the state is as wanted, at most so long. Returns whether it is. `reached` looks as [`Self::see`] does.
    pub async fn until(&self, within: Duration, mut reached: impl FnMut(&State) -> bool) -> bool {
        served::until(self.shared().changes(), within, || self.shared().see(&mut reached)).await
    }

    /// Switches a fault on.
    pub fn inject(&self, fault: Fault) {
        self.shared().faults().add(fault);
    }

    /// Sets the organization's clock, which its stamps and the `Date` of its answers come from, this far ahead of this
    /// machine's.
    pub fn set_clock_ahead(&self, ahead: SignedDuration) {
        self.shared().set_clock_ahead(ahead);
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        self.shared().faults().clear();
    }

    /// How many assertions agents signed in with, and what became of them.
    #[must_use]
    pub fn assertions(&self) -> Assertions {
        self.shared().grants().counts()
    }

    /// Ends all access tokens of agents now; each has to sign in anew.
    pub fn revoke_access_tokens(&self) {
        self.shared().grants().revoke_all();
    }

    /// How often each route was called, for example `GET distributedtask/pools/{id}/jobrequests`.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.shared().calls()
    }

    fn shared(&self) -> &Shared {
        &self.server.shared
    }
}
