//! From a kubeconfig to kube's settings. kube's own way leads through its reading of NO_PROXY, which is wrong (see
//! [`super::proxy`]), so the few fields are carried over here; the mistakes in them get better words on the way.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Uri;
use kube::config::{AuthInfo, Cluster, Config, ExecAuthCluster, Kubeconfig, KubeconfigError};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{Access, ClusterError, proxy::ProxyVariables};

/// Reads files in kubectl's way: the first one to name something wins, and files that do not exist are skipped. `None`
/// where nothing is said at all.
pub(super) fn read<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Option<Kubeconfig>, ClusterError> {
    let mut merged: Option<Kubeconfig> = None;
    for file in files {
        let next = match Kubeconfig::read_from(file) {
            Ok(next) => next,
            Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let message = format!("the kubeconfig {} may not be read by this user", file.display());
                let fix = "run as a user who may read it; with docker run add: --user \"$(id -u)\"";
                return Err(ClusterError::configuration(message, fix));
            }
            Err(error) => return Err(unusable(file, &error)),
        };
        merged = Some(match merged {
            Some(known) => known.merge(next).map_err(|error| unusable(file, &error))?,
            None => next,
        });
    }
    Ok(merged.filter(|all| !(all.clusters.is_empty() && all.contexts.is_empty())))
}

fn unusable(file: &Path, error: &KubeconfigError) -> ClusterError {
    let message = match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        other => other.to_string(),
    };
    let message = format!("the kubeconfig {} cannot be used: {message}", file.display());
    ClusterError::configuration(message, "`kubectl config view` shows what it says")
}

/// The settings for the cluster and user that the kubeconfig's context names, or the flags in its place.
pub(super) fn settings(
    kubeconfig: Kubeconfig,
    access: &Access,
    variables: &ProxyVariables,
) -> Result<Config, ClusterError> {
    let Some(context) = access.context.clone().or(kubeconfig.current_context) else {
        let fix = "kubectl config use-context NAME, or name one with --context";
        return Err(ClusterError::configuration("the kubeconfig has no current context", fix));
    };
    let names: Vec<_> = kubeconfig.contexts.iter().map(|named| named.name.clone()).collect();
    let context = kubeconfig
        .contexts
        .into_iter()
        .find_map(|named| named.context.filter(|_| named.name == context))
        .ok_or_else(|| missing("context", &context, &names))?;

    let name = access.cluster.as_ref().unwrap_or(&context.cluster);
    let names: Vec<_> = kubeconfig.clusters.iter().map(|named| named.name.clone()).collect();
    let cluster = kubeconfig
        .clusters
        .into_iter()
        .find_map(|named| named.cluster.filter(|_| &named.name == name))
        .ok_or_else(|| missing("cluster", name, &names))?;

    // A user who is not there is nobody, as in kubectl.
    let name = access.user.as_ref().or(context.user.as_ref());
    let user =
        kubeconfig.auth_infos.into_iter().find_map(|named| named.auth_info.filter(|_| Some(&named.name) == name));
    let mut config = cluster_settings(&cluster, variables)?;
    config.auth_info = with_cluster_info(user.unwrap_or_default(), &cluster)?;
    if let Some(namespace) = context.namespace {
        config.default_namespace = namespace;
    }
    Ok(config)
}

fn missing(what: &str, name: &str, names: &[String]) -> ClusterError {
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    ClusterError::configuration(
        format!("the kubeconfig has no {what} \"{name}\""),
        format!("choose one that it has: {known}"),
    )
}

fn cluster_settings(cluster: &Cluster, variables: &ProxyVariables) -> Result<Config, ClusterError> {
    const LOOK: &str = "correct it; `kubectl config view` shows the kubeconfig";
    let wrong = |what: String| ClusterError::configuration(format!("the kubeconfig's cluster has {what}"), LOOK);
    let server = cluster.server.as_deref().unwrap_or_default();
    let unusable =
        || wrong(format!("a server address that is none (\"{server}\"); it has to read like https://HOST:PORT"));
    let url: Uri = server.parse().map_err(|_| unusable())?;
    let host = match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(host)) => host.to_owned(),
        _ => return Err(unusable()),
    };
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });

    let mut config = Config::new(url);
    config.root_cert = certificates(cluster).map_err(wrong)?;
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.disable_compression = cluster.disable_compression.unwrap_or(false);
    config.tls_server_name.clone_from(&cluster.tls_server_name);
    let proxy = variables.choose(cluster.proxy_url.as_deref(), &host, port);
    config.proxy_url = match proxy.map(|proxy| proxy.parse::<Uri>()) {
        None => None,
        Some(Ok(proxy)) => Some(proxy),
        // Not printed: it may hold a password.
        Some(Err(_)) => {
            let fix = "correct proxy-url in the kubeconfig, or HTTPS_PROXY";
            return Err(ClusterError::configuration("the address of the proxy is not a URL", fix));
        }
    };
    Ok(config)
}

fn certificates(cluster: &Cluster) -> Result<Option<Vec<Vec<u8>>>, String> {
    let pem = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (Some(data), _) if !data.is_empty() => {
            STANDARD.decode(data.trim()).map_err(|error| format!("unusable certificate-authority-data: {error}"))?
        }
        (_, Some(file)) if !file.is_empty() => std::fs::read(file)
            .map_err(|error| format!("a certificate-authority {file} that cannot be read: {error}"))?,
        _ => return Ok(None),
    };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&pem).map(|found| found.map(|one| one.as_ref().to_vec())).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(Some(found)),
        Ok(_) => Err("a certificate authority without a certificate in it".to_owned()),
        Err(error) => Err(format!("an unusable certificate authority: {error}")),
    }
}

/// A sign-in program may ask to be told about the cluster.
fn with_cluster_info(mut user: AuthInfo, cluster: &Cluster) -> Result<AuthInfo, ClusterError> {
    if let Some(exec) = user.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        let told = ExecAuthCluster::try_from(cluster).map_err(|error| {
            let message = format!("the kubeconfig's sign-in program cannot be told about the cluster: {error}");
            ClusterError::configuration(message, "`kubectl get namespaces` must work with the same kubeconfig")
        })?;
        exec.cluster = Some(told);
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const TWO_CONTEXTS: &str = "
apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: c1, cluster: {server: 'https://one.corp:6443', proxy-url: 'http://proxy.corp:3128'}}
- {name: c2, cluster: {server: 'https://two.corp'}}
contexts:
- {name: one, context: {cluster: c1, user: u1, namespace: agents}}
- {name: two, context: {cluster: c2, user: nobody}}
users:
- {name: u1, user: {token: t1}}
";

    fn config(access: &Access) -> Result<Config, ClusterError> {
        settings(Kubeconfig::from_yaml(TWO_CONTEXTS).unwrap(), access, &ProxyVariables::default())
    }

    #[test]
    fn the_current_context_decides() {
        let config = config(&Access::default()).unwrap();
        assert_eq!(config.cluster_url.host(), Some("one.corp"));
        assert_eq!(config.default_namespace, "agents");
        assert_eq!(config.proxy_url.unwrap().host(), Some("proxy.corp"));
        assert!(config.auth_info.token.is_some());
    }

    #[test]
    fn flags_go_before_the_context() {
        let access = Access { context: Some("two".into()), user: Some("u1".into()), ..Access::default() };
        let config = config(&access).unwrap();
        assert_eq!(config.cluster_url.host(), Some("two.corp"));
        assert!(config.auth_info.token.is_some() && config.proxy_url.is_none());
    }

    #[test]
    fn a_context_that_is_not_there_is_answered_with_those_that_are() {
        let error = config(&Access { context: Some("three".into()), ..Access::default() }).unwrap_err();
        assert_eq!(error.message, "the kubeconfig has no context \"three\"");
        assert_eq!(error.fix.unwrap(), "choose one that it has: one, two");
    }

    #[test]
    fn files_that_do_not_exist_are_skipped_and_empty_ones_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let gone = PathBuf::from("/nowhere/config");
        let (real, empty) = (file("real", TWO_CONTEXTS), file("empty", ""));
        assert!(read([gone.as_path(), &empty]).unwrap().is_none());
        assert_eq!(read([gone.as_path(), &empty, &real]).unwrap().unwrap().clusters.len(), 2);
        let broken = file("broken", "clusters: [");
        assert!(read([broken.as_path()]).unwrap_err().message.contains("cannot be used"));
    }

    #[test]
    fn a_server_is_given_with_its_scheme() {
        for server in ["", "10.0.0.1", "10.0.0.1:6443", "ftp://x", "https://"] {
            let cluster = Cluster { server: Some(server.into()), ..Cluster::default() };
            let error = cluster_settings(&cluster, &ProxyVariables::default()).unwrap_err();
            assert!(error.message.contains("https://HOST:PORT"), "{server}: {error}");
        }
    }

    #[test]
    fn a_certificate_authority_that_is_none_is_an_error() {
        for data in ["!", "aGVsbG8="] {
            let cluster = Cluster {
                server: Some("https://x".into()),
                certificate_authority_data: Some(data.into()),
                ..Cluster::default()
            };
            assert!(cluster_settings(&cluster, &ProxyVariables::default()).is_err(), "{data}");
        }
    }
}
