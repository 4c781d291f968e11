//! Giving up all that a configuration has made: for hosts that are no cluster, where nobody else could be asked to.
//!
//! It is the same loop as ever, asked to retire, so that nothing is known about taking agents back that the loop does not
//! know. What has ended and is only kept for its log goes last, by the host itself.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Engine, Metrics, ServeError, board::Board, session::Session, stop_pair};
use crate::{
    azure_devops::AzureDevOps,
    config::{Config, HostConfig},
    core::{Control, Policy, Remains, Run, is_same_name},
    hosts::AgentHost,
};

/// Between two looks at how far it has come.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// How long Azure DevOps may hold on to the registrations of agents that were ended by force.
const BY_FORCE: Duration = Duration::from_secs(30);

/// An installation without a cluster that is to be given up.
pub struct Retirement {
    session: Session,
    me: String,
}

/// What there is of ours in one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The pool.
    pub pool: String,
    /// Whether the configuration serves it. What is in another pool of this installation goes by force alone.
    pub served: bool,
    /// How much there is.
    pub remains: Remains,
    /// Ended runs whose places or logs are still kept.
    pub ended: usize,
    /// The agents that work on job requests.
    pub busy: Vec<String>,
}

impl Holding {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.remains.is_nothing() && self.ended == 0
    }
}

impl Retirement {
    /// Reaches the host of a configuration.
    ///
    /// # Errors
    ///
    /// It does not answer, or agents are Jobs of a cluster.
    pub async fn of(config: Config) -> Result<Self, ServeError> {
        if matches!(config.host, HostConfig::Kubernetes(_)) {
            return Err(ServeError {
                message: "this configuration's agents are Jobs of a cluster".to_owned(),
                fix: Some("kubectl ado uninstall -n NAMESPACE, without --config".to_owned()),
            });
        }
        let me = super::identity();
        // A host that does not answer now is told at once: somebody waits.
        let config = Config { run_once: true, status_file: None, ..config };
        let session = Session::begin(config, &me).await?;
        Ok(Self { session, me })
    }

    /// What there is.
    ///
    /// # Errors
    ///
    /// The host or Azure DevOps does not answer.
    pub async fn look(&self) -> Result<Vec<Holding>, ServeError> {
        let Session { config, azure_devops, host, installation, .. } = &self.session;
        let mut runs = host.runs().await?;
        let mut holdings = Vec::new();
        for pool in &config.pools {
            let refused = |error: crate::azure_devops::Error| ServeError {
                message: format!("pool \"{}\": {error}", pool.name),
                fix: error.fix().or_else(|| Some("kubectl-ado check --pre tells what is missing".to_owned())),
            };
            let id = azure_devops.pool(&pool.name).await.map_err(refused)?;
            let agents = azure_devops.agents(id).await.map_err(refused)?;
            let (ours, others): (Vec<_>, Vec<_>) =
                runs.into_iter().partition(|run| is_same_name(&run.pool, &pool.name));
            runs = others;
            let is_busy = |name: &String| {
                agents.iter().any(|agent| agent.name.eq_ignore_ascii_case(name) && agent.assigned.is_some())
            };
            let live = ours.iter().filter(|run| run.is_live()).map(|run| run.name.clone());
            holdings.push(Holding {
                pool: pool.name.clone(),
                served: true,
                remains: Remains::of(installation, &ours, &agents),
                ended: ours.iter().filter(|run| !run.is_live()).count(),
                busy: live.filter(is_busy).collect(),
            });
        }
        // Pools that another configuration of this installation serves, or none any more.
        let mut elsewhere: BTreeMap<String, Vec<Run>> = BTreeMap::new();
        for run in runs {
            elsewhere.entry(run.pool.clone()).or_default().push(run);
        }
        holdings.extend(elsewhere.into_iter().map(|(pool, runs)| Holding {
            pool,
            served: false,
            remains: Remains::of(installation, &runs, &[]),
            ended: runs.iter().filter(|run| !run.is_live()).count(),
            // Nobody here can tell.
            busy: runs.iter().filter(|run| run.is_live()).map(|run| run.name.clone()).collect(),
        }));
        Ok(holdings)
    }

    /// Starts nothing any more, takes back what is idle, removes registrations and placeholders, and waits for agents that
    /// work, or ends them by force. `told` hears what is waited for. Gives what is left after `patience`.
    ///
    /// # Errors
    ///
    /// The host or Azure DevOps does not answer.
    pub async fn go(
        &self,
        force: bool,
        patience: Duration,
        mut told: impl FnMut(&str),
    ) -> Result<Vec<Holding>, ServeError> {
        let Session { config, azure_devops, host, installation, .. } = &self.session;
        if force {
            host.end_all().await?;
        }
        let deadline = Instant::now() + if force { patience.min(BY_FORCE) } else { patience };
        let board = Arc::new(Board::default());
        let policy = Policy { identity: self.me.clone(), retire: true, ..config.policy(installation.clone()) };
        board.serves(&policy, self.session.facts(&self.me, Timestamp::now()));
        board.asks(Control { retire: true, ..Control::default() });
        let metrics = Arc::new(Metrics::default());
        let mut engine = Engine::new(azure_devops, host, policy, self.session.settings(), metrics)
            .under(self.session.without_election())
            .wishing(self.session.wishes())
            .reporting_to(Arc::clone(&board));
        let (stopper, stop) = stop_pair();
        let watching = async {
            let mut said = String::new();
            while Instant::now() < deadline {
                let conditions = board.report(Timestamp::now()).map(|report| report.conditions).unwrap_or_default();
                let retired = conditions.into_iter().find(|condition| condition.kind == "Retired");
                match retired {
                    Some(retired) if retired.status == "True" => break,
                    Some(retired) if retired.message != said => {
                        told(&retired.message);
                        said = retired.message;
                    }
                    _ => {}
                }
                sleep(LOOK_AGAIN).await;
            }
            stopper.stop();
        };
        tokio::join!(Box::pin(engine.run(&stop)), watching);
        let mut left = self.look_afresh().await?;
        if left.iter().all(|holding| !holding.served || holding.remains.runs == 0) {
            let ours = config.pools.iter().map(|pool| pool.name.clone());
            host.clear((!force).then(|| ours.collect())).await?;
            left.iter_mut().filter(|holding| holding.served || force).for_each(|holding| holding.ended = 0);
        }
        Ok(left)
    }

    /// A host remembers for a while what has ended and is gone; another one sees what is there.
    async fn look_afresh(&self) -> Result<Vec<Holding>, ServeError> {
        Self::of(self.session.config.clone()).await?.look().await
    }

    /// Where the agents are, in words.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.session.config.host {
            HostConfig::ContainerInstances(aci) => {
                format!("resource group {} of subscription {}", aci.resource_group, aci.subscription_id)
            }
            HostConfig::Local(local) => format!("folder {}", local.folder.display()),
            HostConfig::Kubernetes(kubernetes) => format!("namespace {}", kubernetes.namespace),
        }
    }
}
