//! The flags that each command has that talks to a cluster, as kubectl has them, and which install they lead to.

use std::{path::PathBuf, time::Duration};

use super::{Exit, Failure};
use crate::cluster::{Access, Account, Cluster, ClusterError, ErrorKind, Install, find_installs};

/// Where an install goes, and is looked for, if nothing says otherwise.
pub(super) const DEFAULT_NAMESPACE: &str = "ado-system";

/// The flags that name a cluster or a place in it, for what is meant for no cluster.
pub(super) const CLUSTER_FLAGS: [&str; 6] = ["kubeconfig", "context", "cluster", "user", "impersonate", "namespace"];

/// Which cluster, as whom, and which namespace.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterFlags {
    /// The kubeconfig file to use [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The kubeconfig's cluster, instead of the context's
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) cluster: Option<String>,
    /// The kubeconfig's user, instead of the context's
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// The user to act as
    #[arg(long = "as", global = true, value_name = "USER")]
    pub(super) impersonate: Option<String>,
    /// A group to act as; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "impersonate")]
    pub(super) impersonate_groups: Vec<String>,
    /// The namespace of the install [default: $ADO_NAMESPACE, else that of the install that is found, else ado-system]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// How long one call to the cluster may take: 5s, 1m; 0 is 10s
    #[arg(long, global = true, value_name = "TIME", value_parser = request_timeout)]
    pub(super) request_timeout: Option<Duration>,
}

/// kubectl takes a number without a unit as seconds.
fn request_timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(if seconds == 0 { crate::cluster::DEADLINE } else { Duration::from_secs(seconds) });
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| "write it as 10s or 2m".to_owned())?;
    Duration::try_from(span).map_err(|_| "it cannot be negative".to_owned())
}

impl ClusterFlags {
    /// Whether any of [`CLUSTER_FLAGS`] is there: whoever gives one means a cluster, whatever the environment says.
    pub(super) fn names_one(&self) -> bool {
        let Self { kubeconfig, context, cluster, user, impersonate, namespace, .. } = self;
        let texts = [context, cluster, user, impersonate, namespace];
        kubeconfig.is_some() || texts.into_iter().any(Option::is_some)
    }

    /// The cluster that they name; contacts nothing.
    pub(super) fn open(&self) -> Result<Cluster, Failure> {
        Ok(Cluster::open(&Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            impersonate: self.impersonate.clone(),
            impersonate_groups: self.impersonate_groups.clone(),
            request_timeout: self.request_timeout,
        })?)
    }

    /// The same cluster as another account, which the caller has to be allowed to impersonate. Its groups are added by the
    /// API server; to name them would take a right of its own.
    pub(super) fn open_as(&self, account: &Account) -> Result<Cluster, Failure> {
        let other = Self { impersonate: Some(account.user()), impersonate_groups: Vec::new(), ..self.clone() };
        other.open()
    }

    /// The namespace that was asked for, by flag or by `ADO_NAMESPACE`.
    pub(super) fn asked_namespace(&self) -> Option<String> {
        let variable = || std::env::var("ADO_NAMESPACE").ok().filter(|value| !value.is_empty());
        self.namespace.clone().or_else(variable)
    }

    /// The one install that they lead to, if there is one there.
    ///
    /// Where no namespace was asked for, all are searched; who may not do that has `ado-system` and the context's own
    /// namespace searched.
    pub(super) async fn find(&self, cluster: &Cluster) -> Result<Found, Failure> {
        if let Some(namespace) = self.asked_namespace() {
            let installs = find_installs(cluster, Some(&namespace)).await?;
            return one_of(installs, namespace, Chosen::Asked);
        }
        match find_installs(cluster, None).await {
            Ok(installs) => one_of(installs, DEFAULT_NAMESPACE.to_owned(), Chosen::Found),
            Err(error) if error.kind == ErrorKind::Forbidden => {
                for namespace in [DEFAULT_NAMESPACE, &cluster.context_namespace] {
                    match find_installs(cluster, Some(namespace)).await {
                        Ok(installs) if !installs.is_empty() => {
                            return one_of(installs, namespace.to_owned(), Chosen::Found);
                        }
                        Ok(_) => {}
                        Err(error) if error.kind == ErrorKind::Forbidden => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(Failure::new(
                    Exit::Failed,
                    error.message,
                    Some("name the namespace of the install with -n, or in ADO_NAMESPACE".into()),
                ))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where `install` goes: the namespace that was asked for, else `ado-system`. An install elsewhere is not guessed at.
    pub(super) async fn find_place(&self, cluster: &Cluster) -> Result<Found, Failure> {
        if self.asked_namespace().is_some() {
            return self.find(cluster).await;
        }
        let found = match self.find(cluster).await {
            // Who may not look everywhere, and finds nothing where he may look, goes where it says.
            Err(failure) if failure.exit == Exit::Failed => {
                return match find_installs(cluster, Some(DEFAULT_NAMESPACE)).await {
                    Ok(installs) => one_of(installs, DEFAULT_NAMESPACE.to_owned(), Chosen::Default),
                    Err(_) => Err(failure),
                };
            }
            found => found?,
        };
        let namespace = &found.namespace;
        if namespace == DEFAULT_NAMESPACE {
            return Ok(found);
        }
        let message = format!(
            "kubectl-ado is installed in namespace \"{namespace}\"; without -n, an install goes into {DEFAULT_NAMESPACE}"
        );
        let fix = format!("-n {namespace} changes that install, -n {DEFAULT_NAMESPACE} makes another one");
        Err(Failure::new(Exit::Usage, message, Some(fix)))
    }

    /// The one install that they lead to.
    pub(super) async fn installed(&self, cluster: &Cluster) -> Result<Install, Failure> {
        let Found { namespace, install, .. } = self.find(cluster).await?;
        install.ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                format!("kubectl-ado is not installed in namespace \"{namespace}\" (ADO501)"),
                Some("kubectl ado install, or name its namespace with -n".into()),
            )
        })
    }
}

/// Where to look for an install, and what is there.
#[derive(Debug)]
pub(super) struct Found {
    /// The namespace.
    pub(super) namespace: String,
    /// Why this one.
    pub(super) chosen: Chosen,
    /// The install that is there.
    pub(super) install: Option<Install>,
}

/// Why a namespace was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// By `-n` or `ADO_NAMESPACE`.
    Asked,
    /// An install was found there.
    Found,
    /// Nothing said otherwise.
    Default,
}

pub(super) fn one_of(mut installs: Vec<Install>, namespace: String, chosen: Chosen) -> Result<Found, Failure> {
    if installs.len() > 1 {
        let names: Vec<_> = installs.iter().map(|install| install.namespace.as_str()).collect();
        return Err(Failure::new(
            Exit::Usage,
            format!("kubectl-ado is installed in several places: {}", names.join(", ")),
            Some("choose one with -n, or in ADO_NAMESPACE".into()),
        ));
    }
    let Some(install) = installs.pop() else {
        let chosen = if chosen == Chosen::Asked { chosen } else { Chosen::Default };
        return Ok(Found { namespace, chosen, install: None });
    };
    Ok(Found { namespace: install.namespace.clone(), chosen, install: Some(install) })
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        let exit = if error.kind == ErrorKind::Configuration { Exit::Usage } else { Exit::Failed };
        let is_silent = matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Timeout);
        let reach =
            "`kubectl version` has to reach the cluster with the same context; --request-timeout gives it more time";
        Self::new(exit, error.message, error.fix.or_else(|| is_silent.then(|| reach.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_reads_as_in_kubectl() {
        assert_eq!(request_timeout("5"), Ok(Duration::from_secs(5)));
        assert_eq!(request_timeout("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(request_timeout("0"), Ok(crate::cluster::DEADLINE));
        assert!(request_timeout("soon").is_err());
    }
}
