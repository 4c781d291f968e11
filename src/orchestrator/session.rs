//! What is served with one configuration: its organization, its host, its seat in the election.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::{
    Candidate, Leadership, Metrics, ServeError, Settings, Wish, Wishes, facts::Facts, status_file::StatusFile,
};
use crate::{
    azure::{AZURE_DEVOPS, OrganizationToken},
    azure_devops::RestClient,
    cluster::{NamedLease, NamedStatus},
    config::{AgentSpec, Config, HostConfig},
    core::{Installation, LeaseTiming, OrchestratorReport, OrganizationReport, lease_name},
    hosts::{Host, HostError, Reached},
};

/// The wait between two tries to reach a host that does not answer.
pub(super) const HOST_RETRY: Duration = Duration::from_secs(5);

/// How long it may take to learn who we are. Nothing depends on it.
const WHO_PATIENCE: Duration = Duration::from_secs(10);

/// A configuration whose host has answered.
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) azure_devops: RestClient,
    pub(super) host: Host,
    pub(super) installation: Installation,
    /// Which identity of Entra we are, where we are one and could learn it.
    signed_in_as: Option<String>,
}

/// Why a configuration cannot be served.
pub(super) enum Unready {
    /// The host does not answer; that may pass.
    NotYet(String),
    /// Not without a change.
    Never(ServeError),
}

impl Session {
    /// Reaches the host of a configuration.
    pub(super) async fn open(config: Config, identity: &str) -> Result<Self, (Config, Unready)> {
        let url = &config.organization.url;
        let made = OrganizationToken::of(&config).and_then(|token| {
            let client = RestClient::new(url, token.clone(), config.ca_file.as_deref())?;
            Ok((client.with_agents_over(config.way().into()), token))
        });
        let (azure_devops, token) = match made {
            Ok(made) => made,
            Err(error) => {
                let error = ServeError { message: error.to_string(), fix: Some(error.fix().to_owned()) };
                return Err((config, Unready::Never(error)));
            }
        };
        let Reached { host, installation, warnings, problems } =
            match Host::reach(&config, identity, token.clone()).await {
                Ok(reached) => reached,
                Err(HostError::Unavailable(message)) if !config.run_once => {
                    return Err((config, Unready::NotYet(message)));
                }
                Err(error) => return Err((config, Unready::Never(error.into()))),
            };
        for warning in config.warnings.iter().chain(&warnings) {
            warn!("{warning}");
        }
        for (problem, fix) in problems {
            error!(fix = fix.as_deref(), "{problem}");
        }
        let signed_in_as = who(&token, &azure_devops).await;
        Ok(Self { config, azure_devops, host, installation, signed_in_as })
    }

    /// Tries until the host answers: a cluster that is being upgraded is no reason to give up.
    pub(super) async fn begin(mut config: Config, identity: &str) -> Result<Self, ServeError> {
        let mut last_told = String::new();
        loop {
            match Self::open(config, identity).await {
                Ok(session) => return Ok(session),
                Err((_, Unready::Never(error))) => return Err(error),
                Err((same, Unready::NotYet(message))) => {
                    if message != last_told {
                        warn!("the host does not answer and is tried again: {message}");
                        last_told = message;
                    }
                    config = same;
                    sleep(HOST_RETRY).await;
                }
            }
        }
    }

    pub(super) fn announce(&self) {
        let Self { config, host, installation, .. } = self;
        info!(
            organization = config.organization.url,
            pools = config.pools.iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>().join(", "),
            host = host.kind().name(),
            installation = installation.id(),
            short = installation.short(),
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
    }

    pub(super) fn settings(&self) -> Settings {
        let Config { polling, respect_parallel_jobs, .. } = self.config;
        Settings { polling, respect_parallel_jobs, now: Timestamp::now }
    }

    pub(super) fn facts(&self, identity: &str, started_at: Timestamp) -> Facts {
        let Self { config, host, installation, .. } = self;
        let namespace = match &config.host {
            HostConfig::Kubernetes(kubernetes) => Some(kubernetes.namespace.clone()),
            HostConfig::ContainerInstances(_) | HostConfig::Local(_) => None,
        };
        let authentication = config.organization.authentication.name().to_owned();
        Facts {
            host: host.kind(),
            orchestrator: OrchestratorReport {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                identity: identity.to_owned(),
                started_at,
                installation: installation.id().to_owned(),
                installation_short: installation.short().to_owned(),
                host: host.kind().name().to_owned(),
                namespace,
                lease: self.place().map(|place| place.lease),
            },
            organization: OrganizationReport {
                url: config.organization.url.clone(),
                authentication,
                identity: self.signed_in_as.clone(),
            },
        }
    }

    /// Agents of a cluster may have several orchestrators; those of this machine have us alone, and a single pass is
    /// over before an election would be.
    fn place(&self) -> Option<Place> {
        let kubernetes = match &self.host {
            Host::Kubernetes(kubernetes) if !self.config.run_once => kubernetes,
            _ => return None,
        };
        let pools: Vec<_> = self.config.pools.iter().map(|pool| pool.name.as_str()).collect();
        let lease = lease_name(&self.installation, &self.config.organization.url, &pools);
        Some(Place { namespace: kubernetes.namespace().to_owned(), lease })
    }

    /// Whether another configuration's agents run where those of this one do, for the same organization.
    pub(super) fn is_at_the_place_of(&self, other: &Self) -> bool {
        self.installation == other.installation
            && self.host.kind() == other.host.kind()
            && self.config.organization.url == other.config.organization.url
    }

    /// How the agents of each template are to get the right to work.
    pub(super) fn wishes(&self) -> Wishes {
        let in_containers = matches!(self.host, Host::Kubernetes(_) | Host::ContainerInstances(_));
        let wish = |spec: &AgentSpec| {
            // Everywhere else, they start as we let them.
            let obstacle = spec.obstacle().filter(|_| in_containers);
            Wish { registration: spec.registration, obstacle: obstacle.map(str::to_owned) }
        };
        self.config.agents.iter().map(|(of, spec)| (of.clone(), wish(spec))).collect()
    }

    /// Where nobody is elected.
    pub(super) fn without_election(&self) -> Leadership {
        match &self.host {
            Host::Local(_) if !self.config.run_once => Leadership::alone(),
            // Beside a single pass there may be another one, and beside us another process for the same resource group.
            Host::Kubernetes(_) | Host::ContainerInstances(_) | Host::Local(_) => Leadership::none(),
        }
    }

    /// Where the status goes that is to be read without a cluster.
    pub(super) fn status_file(&self) -> Option<StatusFile> {
        self.config.status_file.clone().map(StatusFile::new)
    }

    /// Where the status goes in a cluster.
    pub(super) fn status_store(&self) -> Option<NamedStatus> {
        let Host::Kubernetes(kubernetes) = &self.host else { return None };
        let Place { namespace, lease } = self.place()?;
        Some(NamedStatus::new(kubernetes.client().clone(), &namespace, &lease, self.installation.id()))
    }
}

/// Which identity of Entra a token makes of us, and by which link it was had. What goes wrong here goes wrong again in the
/// first poll, and is told there.
async fn who(token: &OrganizationToken, azure_devops: &RestClient) -> Option<String> {
    let credential = token.credential()?;
    let asked = async {
        let name = azure_devops.identity().await.ok()?.name;
        let link = credential.token(AZURE_DEVOPS).await.ok()?.link;
        Some(format!("{name}, by {link}"))
    };
    let identity = timeout(WHO_PATIENCE, asked).await.ok().flatten()?;
    info!(identity = identity.escape_debug().to_string(), "this is who we are in Azure DevOps");
    Some(identity)
}

/// Where a Lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    namespace: String,
    lease: String,
}

/// A candidacy that outlives a change of the configuration which does not change the Lease.
pub(super) struct Seat {
    place: Place,
    pub(super) candidate: Candidate<NamedLease>,
    pub(super) leadership: Leadership,
}

impl Seat {
    /// The seat for a session: the one that we have, or another one, for which that is given up.
    pub(super) async fn take(had: Option<Self>, session: &Session, me: &str, metrics: &Arc<Metrics>) -> Option<Self> {
        let place = session.place();
        if let Some(seat) = had {
            if seat.is_of(session) {
                return Some(seat);
            }
            seat.candidate.release().await;
        }
        let (Some(place), Host::Kubernetes(kubernetes)) = (place, &session.host) else {
            metrics.leads(true);
            return None;
        };
        info!(lease = place.lease, "taking part in the leader election");
        let lease = NamedLease::new(kubernetes.client().clone(), &place.namespace, &place.lease);
        let (candidate, leadership) = Candidate::new(lease, me.to_owned(), LeaseTiming::STANDARD, Arc::clone(metrics));
        Some(Self { place, candidate, leadership })
    }

    /// Whether it is the one for this session.
    pub(super) fn is_of(&self, session: &Session) -> bool {
        Some(&self.place) == session.place().as_ref()
    }

    /// Holds it while some work takes, where there is one.
    pub(super) async fn hold_while<T>(seat: Option<&mut Self>, work: impl Future<Output = T>) -> T {
        match seat {
            Some(seat) => seat.candidate.keep_while(work).await,
            None => work.await,
        }
    }
}
