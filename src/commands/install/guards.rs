//! What is looked at before anything is tried: whose the objects are, and which namespaces are missing.

use std::collections::BTreeMap;

use super::{
    super::{
        Exit, Failure,
        observed::{UPGRADE_THE_PLUGIN, is_newer},
    },
    Options,
    existing::Existing,
    options::Output,
    plan::{self, Plan},
    print, say,
};
use crate::{
    cluster::{Cluster, ErrorKind, ObjectRef, namespace_object, owner},
    core::Code,
};

/// Refuses, with the YAML in the place of the change, where a program keeps the objects as a repository says.
pub(super) async fn owned_by_nobody(options: &Options, cluster: &Cluster, plan: &Plan) -> Result<(), Failure> {
    let mut owned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for object in plan.objects.iter().filter(|object| plan::is_ours(object)) {
        let reference = ObjectRef::of(object);
        let live = match cluster.get(&reference).await {
            // What is missing in rights is told later, and all at once.
            Err(error) if error.kind == ErrorKind::Forbidden => None,
            other => other?,
        };
        if let Some(owner) = live.as_ref().and_then(owner) {
            owned.entry(owner).or_default().push(reference.to_string());
        }
    }
    if owned.is_empty() {
        return Ok(());
    }
    print::objects(options.output.unwrap_or(Output::Yaml), &plan.shown(options.create_namespace))?;
    let code = Code::OwnedByOther;
    let causes = owned.into_iter().map(|(owner, objects)| {
        let message = format!("{owner} manages {}: nothing was changed ({code})", objects.join(", "));
        (message, Some("put the YAML above where it takes its objects from".to_owned()))
    });
    Err(Failure { exit: Exit::Failed, causes: causes.collect() })
}

/// Refuses to put an older version over a newer one: its rights and flags are older, too.
pub(super) fn no_downgrade(options: &Options, existing: &Existing) -> Result<(), Failure> {
    let ours = env!("CARGO_PKG_VERSION");
    let Some(running) = existing.version().filter(|running| is_newer(running, ours)) else { return Ok(()) };
    let namespace = &existing.namespace;
    if options.allow_downgrade {
        say(format!("warning: version {running} in namespace {namespace} becomes {ours}, which is older"));
        return Ok(());
    }
    let message = format!(
        "namespace \"{namespace}\" runs version {running}, and this plugin is {ours}: nothing was changed ({})",
        Code::VersionsDiffer
    );
    let fix = format!("{UPGRADE_THE_PLUGIN}; --allow-downgrade installs {ours} all the same");
    Err(Failure::new(Exit::Usage, message, Some(fix)))
}

/// Refuses to give an install that nobody named another organization.
pub(super) fn same_organization(existing: &Existing, plan: &Plan) -> Result<(), Failure> {
    let theirs = existing.organization().filter(|_| existing.install.is_some() && !existing.is_asked);
    let ours = &plan.config.organization.url;
    match theirs.filter(|theirs| !theirs.eq_ignore_ascii_case(ours.trim_end_matches('/'))) {
        None => Ok(()),
        Some(theirs) => {
            let namespace = &existing.namespace;
            let message = format!("the install in namespace \"{namespace}\" serves {theirs}, and not {ours}");
            let fix = format!(
                "-n {namespace} says that it is the one that is meant; -n with another name makes another install"
            );
            Err(Failure::new(Exit::Usage, message, Some(fix)))
        }
    }
}

/// Refuses where another install has its agents: its rights and ours would be one object.
pub(super) async fn alone_with_agents(cluster: &Cluster, plan: &Plan) -> Result<(), Failure> {
    let Some(binding) = plan.objects.iter().find(|object| object["kind"] == "RoleBinding" && plan::is_ours(object))
    else {
        return Ok(());
    };
    let live = match cluster.get(&ObjectRef::of(binding)).await {
        Err(error) if error.kind == ErrorKind::Forbidden => None,
        other => other?,
    };
    let live = live.unwrap_or_default();
    match live["subjects"][0]["namespace"].as_str() {
        Some(other) if other != plan.namespace => {
            let agents = &plan.agents_namespace;
            let message =
                format!("the namespace \"{agents}\" holds the agents of the install in namespace \"{other}\"");
            let fix = format!("name another one with --agents-namespace, or change that install with -n {other}");
            Err(Failure::new(Exit::Failed, message, Some(fix)))
        }
        _ => Ok(()),
    }
}

/// The namespaces that are not there. One that may not be looked at is taken to be there.
pub(super) async fn missing_namespaces(
    options: &Options,
    cluster: &Cluster,
    plan: &Plan,
) -> Result<Vec<String>, Failure> {
    let mut missing: Vec<String> = Vec::new();
    for name in [&plan.namespace, &plan.agents_namespace] {
        match cluster.get(&ObjectRef::of(&namespace_object(name))).await {
            Ok(Some(found)) if found["status"]["phase"] == "Terminating" => {
                let message = format!("the namespace \"{name}\" is being deleted");
                return Err(Failure::new(Exit::Failed, message, Some("wait until it is gone, then try again".into())));
            }
            Ok(Some(_)) => {}
            Ok(None) if missing.contains(name) => {}
            Ok(None) => missing.push(name.clone()),
            Err(error) if error.kind == ErrorKind::Forbidden => {}
            Err(error) => return Err(error.into()),
        }
    }
    match missing.first() {
        Some(name) if !options.create_namespace => {
            let message = format!("the namespace \"{name}\" does not exist ({})", Code::NamespaceMissing);
            let fix = format!("kubectl create namespace {name}, or leave --create-namespace=false out");
            Err(Failure::new(Exit::Failed, message, Some(fix)))
        }
        _ => Ok(missing),
    }
}
