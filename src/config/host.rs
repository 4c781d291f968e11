//! Where agents run: what was chosen, or what can be told from the surroundings.

use std::path::{Path, PathBuf};

use super::{
    AciConfig, HostConfig, KubernetesConfig, LocalConfig, container_instances,
    environment::Environment,
    error::{Problems, Wrong},
    settings::Settings,
    value::quoted,
};
use crate::core::HostKind;

pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// The names of hosts, as ado-agent-orchestrator has them and `local`.
pub(super) fn host_kind(text: &str) -> Result<HostKind, Wrong> {
    match text.to_lowercase().as_str() {
        "kubernetes" | "k8s" => Ok(HostKind::Kubernetes),
        "aci" | "azurecontainerinstance" | "azurecontainerinstances" => Ok(HostKind::ContainerInstances),
        "local" => Ok(HostKind::Local),
        _ => Err(Wrong::new(format!("is {}; it has to be kubernetes, aci or local", quoted(text)))),
    }
}

/// Whether a Kubernetes cluster can be found: we run in one, or there is a kubeconfig.
pub(super) fn finds_a_cluster(environment: &Environment, is_file: impl Fn(&Path) -> bool) -> bool {
    if environment.get("KUBERNETES_SERVICE_HOST").is_some() {
        return true;
    }
    match environment.get("KUBECONFIG") {
        Some(list) => std::env::split_paths(list).any(|path| is_file(&path)),
        None => home(environment).is_some_and(|home| is_file(&home.join(".kube/config"))),
    }
}

/// What kind of host is meant.
pub(super) fn kind(settings: &Settings, environment: &Environment, is_file: impl Fn(&Path) -> bool) -> HostKind {
    let chosen = settings.host.as_ref().map(|host| host.value);
    chosen.unwrap_or_else(|| match settings.aci.name_a_place().is_some() && !finds_a_cluster(environment, is_file) {
        true => HostKind::ContainerInstances,
        false => HostKind::Kubernetes,
    })
}

/// The host and its settings.
pub(super) fn host(
    settings: &Settings,
    environment: &Environment,
    is_file: impl Fn(&Path) -> bool,
    problems: &Problems,
) -> Option<HostConfig> {
    let found_aci = settings.aci.name_a_place();
    let chosen = settings.host.as_ref().map(|host| host.value);
    let kind = kind(settings, environment, is_file);
    if let (None, HostKind::Kubernetes, Some(origin)) = (chosen, kind, found_aci) {
        problems.warn(format!(
            "{origin} is not used: there is a Kubernetes cluster, so agents run there; \
             set HOST_TYPE=aci to run them as Azure container groups"
        ));
    }
    match kind {
        HostKind::Kubernetes => Some(HostConfig::Kubernetes(kubernetes(settings))),
        HostKind::ContainerInstances => aci(settings, environment, problems).map(HostConfig::ContainerInstances),
        HostKind::Local => local(settings, environment, problems).map(HostConfig::Local),
    }
}

fn kubernetes(settings: &Settings) -> KubernetesConfig {
    let namespace = settings.namespace.as_ref().map(|namespace| namespace.value.clone());
    KubernetesConfig {
        namespace: namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        initialize_namespace: settings.initialize_namespace.as_ref().is_none_or(|initialize| initialize.value),
        token_secret: settings.token_secret.as_ref().map(|secret| secret.value.clone()),
        docker_socket: settings.docker_socket.as_ref().map(|socket| socket.value.clone()),
    }
}

fn aci(settings: &Settings, environment: &Environment, problems: &Problems) -> Option<AciConfig> {
    let why = match &settings.host {
        Some(host) => format!("{} aci needs it", host.origin),
        None => "agents are to run as Azure container groups, because no Kubernetes cluster is found".to_owned(),
    };
    container_instances::config(&settings.aci, &why, environment, problems)
}

fn local(settings: &Settings, environment: &Environment, problems: &Problems) -> Option<LocalConfig> {
    let given = settings.agent_folder.as_ref().map(|folder| folder.value.clone());
    let Some(folder) = given.or_else(|| default_folder(environment)) else {
        let message = "AGENT_FOLDER is not set, and neither XDG_STATE_HOME nor HOME says where agents could live";
        problems.error_with_fix(message, "set AGENT_FOLDER to a folder that this account may write");
        return None;
    };
    // A working folder that is gone; the relative path will fail by its own name.
    Some(LocalConfig { folder: std::path::absolute(&folder).unwrap_or(folder) })
}

/// The XDG base directory for state, else its default.
fn default_folder(environment: &Environment) -> Option<PathBuf> {
    let given = environment.get("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = given.or_else(|| home(environment).map(|home| home.join(".local/state")))?;
    Some(state.join("kubectl-ado/agents"))
}

fn home(environment: &Environment) -> Option<PathBuf> {
    environment.get("HOME").or_else(|| environment.get("USERPROFILE")).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::{super::Config, *};

    fn finds(variables: &[(&str, &str)], files: &[&str]) -> bool {
        let environment = variables.iter().copied().collect();
        finds_a_cluster(&environment, |path| files.iter().any(|file| Path::new(file) == path))
    }

    #[test]
    fn a_cluster_is_found_from_inside_and_by_its_kubeconfig() {
        assert!(finds(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")], &[]));
        assert!(finds(&[("HOME", "/home/a")], &["/home/a/.kube/config"]));
        assert!(finds(&[("KUBECONFIG", "/x:/y")], &["/y"]));
        assert!(!finds(&[("HOME", "/home/a")], &[]));
        assert!(!finds(&[("KUBECONFIG", "/x"), ("HOME", "/home/a")], &["/home/a/.kube/config"]));
        assert!(!finds(&[], &[]));
    }

    #[test]
    fn hosts_have_the_names_of_ado_agent_orchestrator_in_any_case() {
        for (text, kind) in [
            ("Kubernetes", HostKind::Kubernetes),
            ("k8s", HostKind::Kubernetes),
            ("ACI", HostKind::ContainerInstances),
            ("AzureContainerInstance", HostKind::ContainerInstances),
            ("azurecontainerinstances", HostKind::ContainerInstances),
            ("local", HostKind::Local),
        ] {
            assert_eq!(host_kind(text).unwrap(), kind);
        }
        assert!(host_kind("docker").is_err());
    }

    #[test]
    fn whether_agents_run_elsewhere_is_not_guessed_where_the_host_is_misspelt() {
        let is_elsewhere = |variables: &[(&str, &str)]| Config::is_elsewhere(&variables.iter().copied().collect());
        assert!(is_elsewhere(&[("HOST_TYPE", "local"), ("POLLING_DELAY", "wrong")]).unwrap());
        assert!(!is_elsewhere(&[("AZ_REGION", "westeurope")]).unwrap());
        let error = is_elsewhere(&[("HOST_TYPE", "azure")]).unwrap_err().to_string();
        assert!(error.contains("HOST_TYPE is \"azure\""), "{error}");
    }
}
