//! Which cluster, and a client for it: the kubeconfig first, then the pod's ServiceAccount, as kubectl does it.

use std::{path::PathBuf, time::Duration};

use kube::{Client, Config, client::ClientBuilder};

use super::{ClusterError, ErrorKind, call, dates::Dates, kubeconfig, proxy::ProxyVariables};
use crate::clock::ServerClock;

/// How long a connection may take to be made; less than the deadline of a call, so that the reason comes through.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// kubectl's flags that say which cluster, and who we are there.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `--kubeconfig`: the one file to read.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`
    pub context: Option<String>,
    /// `--cluster`
    pub cluster: Option<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--as`
    pub impersonate: Option<String>,
    /// `--as-group`, each
    pub impersonate_groups: Vec<String>,
    /// `--request-timeout`: how long one call may take; [`super::DEADLINE`] if unset.
    pub request_timeout: Option<Duration>,
}

/// Finds the cluster, makes a client for it, and asks it for its version to see that it answers.
///
/// kube's own retries are off: they repeat a call for minutes, creates included. Here a call is made once; names are
/// deterministic, so the next pass repeats it without harm.
///
/// # Errors
///
/// No cluster is configured, the kubeconfig cannot be used, or the cluster cannot be reached
/// ([`ErrorKind::is_transient`] tells whether to try again).
pub async fn connect(access: &Access) -> Result<Client, ClusterError> {
    connect_by(access, &ServerClock::default()).await
}

/// The same, whose answers set this clock.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_by(access: &Access, clock: &ServerClock) -> Result<Client, ClusterError> {
    let (config, origin) = settings(access)?;
    let url = config.cluster_url.to_string();
    let what = format!("use the cluster {url} of {origin}");
    let client = client(config, clock).map_err(|error| ClusterError::from_kube(&what, &error))?;
    match call(&format!("reach the cluster {url} of {origin}"), client.apiserver_version()).await {
        Ok(_) => Ok(client),
        // It answers; who may do what shows later.
        Err(error) if error.kind == ErrorKind::Forbidden => Ok(client),
        Err(mut error) => {
            let loopback = ["//localhost", "//127.", "//[::1]"].iter().any(|start| url.contains(start));
            if error.kind == ErrorKind::Unreachable && loopback {
                let fix = "see that the cluster runs; from within a container this address is the container itself (docker run --network host)";
                error.fix = Some(fix.to_owned());
            }
            Err(error)
        }
    }
}

/// A client whose answers set a clock.
pub(super) fn client(config: Config, clock: &ServerClock) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Dates(clock.clone())).build())
}

/// The settings of a client for the cluster, and where they come from. Contacts nothing.
pub(super) fn settings(access: &Access) -> Result<(Config, String), ClusterError> {
    let (mut config, origin) = find(access, &Surroundings::read())?;
    config.default_retry = false;
    config.connect_timeout = Some(access.request_timeout.map_or(CONNECT_TIMEOUT, |limit| limit.min(CONNECT_TIMEOUT)));
    if access.impersonate.is_some() {
        config.auth_info.impersonate.clone_from(&access.impersonate);
    }
    if !access.impersonate_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(access.impersonate_groups.clone());
    }
    Ok((config, origin))
}

/// The contexts of the kubeconfig: for completion, so that what cannot be read is none.
#[must_use]
pub fn contexts(kubeconfig: Option<&std::path::Path>) -> Vec<String> {
    let around = Surroundings::read();
    let files = match kubeconfig {
        Some(file) => vec![file.to_owned()],
        None if around.listed.is_empty() => around.default.into_iter().collect(),
        None => around.listed,
    };
    let read = kubeconfig::read(files.iter().map(PathBuf::as_path)).ok().flatten();
    read.map(|all| all.contexts.into_iter().map(|named| named.name).collect()).unwrap_or_default()
}

/// What there is around us to find a cluster by.
struct Surroundings {
    /// The files of KUBECONFIG, where it is set.
    listed: Vec<PathBuf>,
    /// `~/.kube/config`, where there is a home.
    default: Option<PathBuf>,
    /// Whether this is a pod.
    in_pod: bool,
    /// Whether it has a ServiceAccount's token.
    has_account: bool,
    proxy: ProxyVariables,
}

impl Surroundings {
    fn read() -> Self {
        let listed = std::env::var_os("KUBECONFIG").map(|list| std::env::split_paths(&list).collect());
        let listed: Vec<PathBuf> = listed.unwrap_or_default();
        Self {
            listed: listed.into_iter().filter(|path| !path.as_os_str().is_empty()).collect(),
            default: std::env::home_dir().map(|home| home.join(".kube/config")),
            in_pod: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty()),
            has_account: PathBuf::from(SERVICE_ACCOUNT).join("token").exists(),
            proxy: ProxyVariables::read(),
        }
    }
}

/// The settings for the cluster, and where they come from.
fn find(access: &Access, around: &Surroundings) -> Result<(Config, String), ClusterError> {
    let files: Vec<PathBuf> = match &access.kubeconfig {
        Some(file) if !file.exists() => {
            let message = format!("the kubeconfig {} does not exist", file.display());
            return Err(ClusterError::configuration(message, "correct --kubeconfig"));
        }
        Some(file) => vec![file.clone()],
        None if around.listed.is_empty() => around.default.iter().cloned().collect(),
        None => around.listed.clone(),
    };
    if let Some(kubeconfig) = kubeconfig::read(files.iter().map(PathBuf::as_path))? {
        let config = kubeconfig::settings(kubeconfig, access, &around.proxy)?;
        return Ok((config, format!("the kubeconfig {}", list(&files))));
    }
    if around.in_pod && around.has_account {
        let config = Config::incluster().map_err(|error| {
            let message = format!("the pod's ServiceAccount cannot be used: {error}");
            ClusterError::configuration(message, "kubectl describe pod shows how it is mounted")
        })?;
        return Ok((config, "the pod's ServiceAccount".to_owned()));
    }
    if around.in_pod {
        let message =
            format!("this is a pod without a ServiceAccount's token ({SERVICE_ACCOUNT}/token does not exist)");
        let fix =
            "give the pod serviceAccountName and automountServiceAccountToken: true, as manifests/deployment.yaml does";
        return Err(ClusterError::configuration(message, fix));
    }
    let looked_at =
        if around.listed.is_empty() { "KUBECONFIG is not set".to_owned() } else { "KUBECONFIG is set".to_owned() };
    let files = if files.is_empty() {
        "there is no home folder with .kube/config".to_owned()
    } else {
        format!("{} {} not exist or says nothing", list(&files), if files.len() == 1 { "does" } else { "do" })
    };
    let message = format!("no Kubernetes cluster is to be found: {looked_at}, {files}, and this is not a pod");
    let fix = "name one with --kubeconfig or KUBECONFIG; \
               with docker run add: -v ~/.kube/config:/kube/config:ro --env KUBECONFIG=/kube/config --user \"$(id -u)\"; \
               in a cluster run it with a ServiceAccount: kubectl apply -f manifests/";
    Err(ClusterError::configuration(message, fix))
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Surroundings {
        Surroundings {
            listed: Vec::new(),
            default: Some(PathBuf::from("/nowhere/.kube/config")),
            in_pod: false,
            has_account: false,
            proxy: ProxyVariables::default(),
        }
    }

    #[test]
    fn where_no_cluster_is_found_one_error_says_what_to_add() {
        let error = find(&Access::default(), &nothing()).unwrap_err();
        assert_eq!(
            error.message,
            "no Kubernetes cluster is to be found: KUBECONFIG is not set, /nowhere/.kube/config does not exist or says nothing, and this is not a pod"
        );
        let fix = error.fix.unwrap();
        assert!(fix.contains("-v ~/.kube/config:/kube/config:ro --env KUBECONFIG=/kube/config --user \"$(id -u)\""));
        assert!(fix.contains("ServiceAccount"));
    }

    #[test]
    fn a_pod_without_its_account_is_told_so() {
        let error = find(&Access::default(), &Surroundings { in_pod: true, ..nothing() }).unwrap_err();
        assert!(error.message.contains("ServiceAccount"), "{error}");
    }

    #[test]
    fn a_kubeconfig_that_was_named_has_to_exist() {
        let access = Access { kubeconfig: Some("/nowhere/config".into()), ..Access::default() };
        assert!(find(&access, &nothing()).unwrap_err().message.contains("/nowhere/config does not exist"));
    }
}
