//! The port, spoken as REST.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{
    AgentFiles, AzureDevOps, Error, Network, NewAgent, PoolId, Proof,
    answer::Failure,
    call::{Caller, Timing},
    capabilities::KnownCapabilities,
    just_in_time::{KeyStock, Packages},
    list::{Each, Elements, Wire, without_duplicates},
    memory::Memory,
    request::Request,
    transport::{base_url, http_client},
    wire::{AgentJson, JobRequestJson, Pool, PoolJson, ResourceUsageJson},
};
use crate::{
    azure::{OrganizationToken, SetupError},
    clock::ServerClock,
    config::is_loopback,
    core::{Agent, AgentId, JobRequest, ParallelJobs, Placeholder},
};

/// The kinds of parallel jobs that self-hosted agents use up.
const PARALLELISM_TAGS: [&str; 2] = ["Private", "Public"];

/// More pages than that are a server that goes round in circles.
const MOST_PAGES: usize = 1000;

/// How long a refused pool is not asked for again: nobody turns a hosted pool into another one while we watch.
const UNFIT_SPAN: Duration = Duration::from_secs(300);

/// How long a server that tells no parallel jobs is not asked for them again.
const NO_LIMITS_SPAN: Duration = Duration::from_secs(600);

/// Azure DevOps Services or Azure DevOps Server, over HTTP. All calls through one client share its throttling:
/// while Azure DevOps wants to be left alone, short waits are waited for and long ones are [`Error::Throttled`].
#[derive(Debug)]
pub struct RestClient {
    pub(super) caller: Caller,
    pub(super) keys: KeyStock,
    pub(super) packages: Packages,
    /// What agents need on their way.
    pub(super) network: Network,
    capabilities: KnownCapabilities,
    unfit: Memory<&'static str>,
    no_limits: Memory<()>,
    /// Whether the server refused `completedRequestCount`.
    asks_for_all: AtomicBool,
    /// Whether the server refused `includeLastCompletedRequest`.
    knows_no_last_request: AtomicBool,
}

impl RestClient {
    /// A client for an organization (`https://dev.azure.com/contoso`) or a collection
    /// (`https://tfs.example/tfs/DefaultCollection`). The authorities in `ca_file` (PEM) are trusted as well as the
    /// system's.
    ///
    /// # Errors
    ///
    /// The URL is none, the CA file is unusable, or the machine has no certificate authorities at all.
    pub fn new(
        organization_url: &str,
        token: impl Into<OrganizationToken>,
        ca_file: Option<&Path>,
    ) -> Result<Self, SetupError> {
        Self::with_timing(organization_url, token, ca_file, Timing::DEFAULT)
    }

    /// The same, whose agents need this on their way.
    #[must_use]
    pub fn with_agents_over(self, network: Network) -> Self {
        // No proxy can reach our own loopback address.
        if is_loopback(self.caller.base()) { self } else { Self { network, ..self } }
    }

    pub(super) fn with_timing(
        organization_url: &str,
        token: impl Into<OrganizationToken>,
        ca_file: Option<&Path>,
        timing: Timing,
    ) -> Result<Self, SetupError> {
        let base = base_url(organization_url)?;
        let http = http_client(&base, ca_file, timing)?;
        Ok(Self {
            caller: Caller::new(http, base, token.into(), timing),
            keys: KeyStock::default(),
            packages: Packages::default(),
            network: Network::default(),
            capabilities: KnownCapabilities::default(),
            unfit: Memory::new(UNFIT_SPAN),
            no_limits: Memory::new(NO_LIMITS_SPAN),
            asks_for_all: AtomicBool::new(false),
            knows_no_last_request: AtomicBool::new(false),
        })
    }

    /// All pages. A part of a list is never given out for the whole.
    async fn list<T: Wire>(&self, request: &Request, each: Option<Each<T::Model>>) -> Result<Vec<T::Model>, Failure> {
        let deadline = self.caller.deadline();
        let mut models = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let intake = || Elements::<T>::each(each.clone());
            let page = self.caller.get(request, token.as_deref(), deadline, intake).await?;
            models.extend(page.content);
            if page.next.is_none() {
                return Ok(without_duplicates::<T>(models));
            }
            if page.next == token {
                break;
            }
            token = page.next;
        }
        Err(Failure::Final(Error::Unreadable("a list without an end".to_owned())))
    }

    /// A list that is asked for with a parameter that not every server takes, and without it once it was refused.
    async fn list_with<T: Wire>(
        &self,
        plain: Request,
        (name, value): (&'static str, &str),
        refused: &AtomicBool,
        each: Option<Each<T::Model>>,
    ) -> Result<Vec<T::Model>, Error> {
        if !refused.load(Ordering::Relaxed) {
            match self.list::<T>(&plain.clone().with(name, value), each.clone()).await {
                Err(Failure::BadRequest(_)) => {}
                other => return Ok(other?),
            }
        }
        let models = self.list::<T>(&plain, each).await?;
        // It was the parameter, and not the question.
        refused.store(true, Ordering::Relaxed);
        Ok(models)
    }
}

impl AzureDevOps for RestClient {
    async fn pool(&self, name: &str) -> Result<PoolId, Error> {
        let unfit = |reason| Error::UnfitPool { pool: name.to_owned(), reason };
        if let Some(reason) = self.unfit.get(name) {
            return Err(unfit(reason));
        }
        let pools = self.list::<PoolJson>(&Request::pools(name), None).await?;
        match choose(pools, name) {
            Choice::Fit(id) => Ok(id),
            Choice::None => Err(Error::NoSuchPool(name.to_owned())),
            Choice::Unfit(reason) => {
                self.unfit.keep(name, reason);
                Err(unfit(reason))
            }
        }
    }

    async fn job_requests(&self, pool: PoolId) -> Result<Vec<JobRequest>, Error> {
        self.list_with::<JobRequestJson>(
            Request::job_requests(pool),
            ("completedRequestCount", "0"),
            &self.asks_for_all,
            None,
        )
        .await
    }

    async fn agents(&self, pool: PoolId) -> Result<Vec<Agent>, Error> {
        let last_request = ("includeLastCompletedRequest", "true");
        let reuse = self.capabilities.reuse(pool);
        let refused = &self.knows_no_last_request;
        let agents = self.list_with::<AgentJson>(Request::agents(pool), last_request, refused, Some(reuse)).await?;
        self.capabilities.keep(pool, &agents);
        Ok(agents)
    }

    /// Undocumented, and unknown to Azure DevOps Server: where the server does not tell, nothing is limited.
    async fn parallel_jobs(&self) -> Result<BTreeMap<String, ParallelJobs>, Error> {
        let mut limits = BTreeMap::new();
        for tag in PARALLELISM_TAGS {
            if self.no_limits.get(tag).is_some() {
                continue;
            }
            let request = Request::resource_usage(tag);
            let answer = self.caller.get_whole::<ResourceUsageJson>(&request).await;
            match answer {
                Ok(page) => limits.extend(page.content.parallel_jobs().map(|jobs| (tag.to_owned(), jobs))),
                Err(failure) if tells_no_limits(&failure) => {
                    if self.no_limits.keep(tag, ()) {
                        let cause = Error::from(failure);
                        tracing::info!(tag, %cause, "the server tells no parallel jobs; none are taken into account");
                    }
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(limits)
    }

    async fn disable(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        gone_is_done(self.caller.change(&Request::disable(pool, agent)).await)
    }

    async fn deregister(&self, pool: PoolId, agent: AgentId) -> Result<(), Error> {
        gone_is_done(self.caller.change(&Request::deregister(pool, agent)).await)
    }

    async fn register(&self, pool: PoolId, placeholder: &Placeholder) -> Result<(), Error> {
        Ok(self.caller.change(&Request::register(pool, placeholder)).await?)
    }

    async fn update(&self, pool: PoolId, agent: AgentId, placeholder: &Placeholder) -> Result<(), Error> {
        Ok(self.caller.change(&Request::update(pool, agent, placeholder)).await?)
    }

    async fn enroll(&self, pool: PoolId, agent: &NewAgent) -> Result<AgentFiles, Error> {
        self.enroll_agent(pool, agent).await
    }

    async fn prove(&self, pool: PoolId, agent: Option<AgentId>, placeholder: &Placeholder) -> Proof {
        self.prove_with(pool, agent, placeholder).await
    }

    fn stretch(&self) -> f64 {
        self.caller.stretch()
    }

    fn clock(&self) -> ServerClock {
        self.caller.clock().clone()
    }
}

/// What shall take no more job requests, or not be there, is no trouble when it is gone.
fn gone_is_done(result: Result<(), Failure>) -> Result<(), Error> {
    match result {
        Err(Failure::Gone(_)) => Ok(()),
        other => Ok(other?),
    }
}

fn tells_no_limits(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::BadRequest(_)
            | Failure::Gone(_)
            | Failure::Final(Error::NotFound(_) | Error::Forbidden(_) | Error::Unreadable(_))
    ) || matches!(failure, Failure::Final(Error::Unavailable { status, .. }) if *status < 500)
}

/// Which pool a name means.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Fit(PoolId),
    Unfit(&'static str),
    None,
}

/// Azure DevOps compares names regardless of case. Should several pools match, the exact name wins, then whichever one
/// can be served.
fn choose(mut pools: Vec<Pool>, name: &str) -> Choice {
    pools.retain(|pool| pool.name.to_lowercase() == name.to_lowercase());
    if pools.iter().any(|pool| pool.name == name) {
        pools.retain(|pool| pool.name == name);
    }
    let mut fit = pools.iter().filter(|pool| pool.unfit.is_none());
    match (fit.next(), fit.next()) {
        (Some(pool), None) => Choice::Fit(pool.id),
        (Some(_), Some(_)) => Choice::Unfit("several pools have this name"),
        (None, _) => pools.iter().find_map(|pool| pool.unfit).map_or(Choice::None, Choice::Unfit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(id: i64, name: &str, unfit: Option<&'static str>) -> Pool {
        Pool { id: PoolId(id), name: name.to_owned(), unfit }
    }

    #[test]
    fn the_exact_name_wins_over_other_cases_and_a_fit_pool_over_an_unfit_one() {
        let choose = |pools, name| choose(pools, name);
        assert_eq!(choose(vec![pool(1, "LINUX", None)], "linux"), Choice::Fit(PoolId(1)));
        assert_eq!(choose(vec![pool(1, "LINUX", None), pool(2, "linux", None)], "linux"), Choice::Fit(PoolId(2)));
        assert_eq!(choose(vec![pool(1, "a", Some("x")), pool(2, "a", None)], "a"), Choice::Fit(PoolId(2)));
        assert_eq!(choose(vec![pool(1, "ÄB", None)], "äb"), Choice::Fit(PoolId(1)));
        assert_eq!(choose(vec![pool(1, "linux 2", None)], "linux"), Choice::None);
        assert_eq!(choose(vec![pool(1, "a", Some("x"))], "a"), Choice::Unfit("x"));
        assert!(matches!(choose(vec![pool(1, "A", None), pool(2, "a", None)], "a"), Choice::Fit(PoolId(2))));
        assert!(matches!(choose(vec![pool(1, "AA", None), pool(2, "aA", None)], "aa"), Choice::Unfit(_)));
    }
}
