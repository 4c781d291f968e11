//! From a plan to objects of the cluster. The API server checks all of them before the first one is changed, so that an
//! install is either refused or made, and never half of it.

use std::{collections::BTreeMap, io::Write};

use serde_json::Value;

use super::{
    super::{Exit, Failure},
    DryRun, Options, ask,
    existing::Existing,
    plan::{self, Plan},
    print, say, token,
};
use crate::{
    cluster::{
        Apply, Change, Cluster, ClusterError, ErrorKind, FIELD_MANAGER, ObjectRef, Reported, applied_by_us, changes,
        conflicting_managers, namespace_object, owner, read_reports,
    },
    core::Code,
};

/// What an apply did.
#[derive(Debug)]
pub(super) struct Applied {
    /// Whether anything is other than it was.
    pub(super) changed: bool,
    /// What orchestrators had reported before.
    pub(super) before: Vec<Reported>,
}

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
    print::objects(options.output.unwrap_or(super::options::Output::Yaml), &plan.shown(options.create_namespace))?;
    let code = Code::OwnedByOther;
    let causes = owned.into_iter().map(|(owner, objects)| {
        let message = format!("{owner} manages {}: nothing was changed ({code})", objects.join(", "));
        (message, Some("put the YAML above where it takes its objects from".to_owned()))
    });
    Err(Failure { exit: Exit::Failed, causes: causes.collect() })
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

/// Applies the plan. `None` if it was only tried.
pub(super) async fn apply(
    options: &Options,
    cluster: &Cluster,
    plan: &Plan,
    existing: &Existing,
) -> Result<Option<Applied>, Failure> {
    let dry_run = options.dry_run == DryRun::Server;
    let missing = missing_namespaces(options, cluster, plan).await?;
    for namespace in &missing {
        try_namespace(cluster, namespace, true).await?;
    }
    if !dry_run && existing.install.is_none() && ask::can_ask() && !options.yes {
        let question = format!("Install into namespace {} of {}?", plan.namespace, cluster.url);
        if !ask::confirm(&question)? {
            return Err(Failure::new(Exit::Failed, "nothing was changed", None));
        }
    }
    let mut made = Vec::new();
    if !dry_run {
        for namespace in &missing {
            made.push((namespace.clone(), try_namespace(cluster, namespace, false).await?));
        }
    }
    let unchecked: &[String] = if dry_run { &missing } else { &[] };
    let tried = match try_all(options, cluster, plan, unchecked).await {
        Ok(tried) => tried,
        Err(failure) => {
            for (name, uid) in made {
                let namespace = ObjectRef::of(&namespace_object(&name));
                if cluster.delete(&namespace, &uid, false).await.is_ok() {
                    say(format!("the namespace {name}, which was made for it, is deleted again"));
                }
            }
            return Err(failure);
        }
    };
    let differs =
        print::differences(&tried.iter().map(|it| (it.reference.clone(), it.changes.clone())).collect::<Vec<_>>());
    if dry_run {
        print_tried(options, plan, &missing, &tried)?;
        return Ok(None);
    }
    if existing.install.is_some() && differs && ask::can_ask() && !options.yes && !ask::confirm("Apply these changes?")?
    {
        return Err(Failure::new(Exit::Failed, "nothing was changed", None));
    }

    // Before anything changes, so that what is reported later can be told from it.
    let before = read_reports(cluster, &plan.agents_namespace).await.unwrap_or_default();
    let mut changed = false;
    let verbs = options.output.is_none();
    let mut out = std::io::stdout();
    for (name, _) in &made {
        if verbs {
            let _ = writeln!(out, "namespace/{name} created");
        }
    }
    for it in tried {
        let applied = hiding(plan, cluster.apply(&it.object, Apply { dry_run: false, force: it.force }).await)?;
        let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let verb = match &it.live {
            None => "created",
            Some(live) if version(live) == version(&applied) => "unchanged",
            // Somebody else wrote in between; what is ours is as it was.
            Some(live) if it.changes.as_ref().is_some_and(Vec::is_empty) && ours(live) == ours(&applied) => "unchanged",
            Some(_) => "configured",
        };
        changed |= verb != "unchanged";
        if verbs {
            // It goes on, whoever reads of it: half an install is worse than an unread line.
            let _ = writeln!(out, "{} {verb}", it.reference);
        }
    }
    changed |= prune(cluster, plan, existing, verbs).await?;
    if let Some(format) = options.output {
        print::objects(format, &plan.shown(false))?;
    }
    Ok(Some(Applied { changed, before }))
}

/// One object after the API server has said what it would become.
struct Tried {
    object: Value,
    reference: ObjectRef,
    /// As it is now.
    live: Option<Value>,
    /// `None` where that is not known.
    changes: Option<Vec<Change>>,
    force: bool,
}

/// Has the API server check every object, and collects all that it has against them.
async fn try_all(
    options: &Options,
    cluster: &Cluster,
    plan: &Plan,
    unchecked: &[String],
) -> Result<Vec<Tried>, Failure> {
    let mut failure = Failure { exit: Exit::Failed, causes: Vec::new() };
    let mut tried = Vec::new();
    let secret = plan.secret.as_ref().map(|(secret, _)| secret);
    for object in secret.into_iter().chain(&plan.objects) {
        let reference = ObjectRef::of(object);
        if unchecked.contains(&reference.namespace) {
            tried.push(Tried { object: object.clone(), reference, live: None, changes: None, force: false });
            continue;
        }
        match try_one(options, cluster, plan, object).await {
            Ok(one) => tried.push(one),
            // Whoever may not apply what goes along with a template may well find it there.
            Err(error) if error.kind == ErrorKind::Forbidden && !plan::is_ours(object) => {
                say(format!(
                    "warning: the Job template's {} is not applied; it has to be there already: {error}",
                    reference.long()
                ));
            }
            Err(error) => failure.causes.push(explained(error)),
        }
    }
    if failure.causes.is_empty() { Ok(tried) } else { Err(failure) }
}

async fn try_one(options: &Options, cluster: &Cluster, plan: &Plan, object: &Value) -> Result<Tried, ClusterError> {
    let reference = ObjectRef::of(object);
    let live = cluster.get(&reference).await?;
    let mut force = options.force_conflicts;
    let answer = match cluster.apply(object, Apply { dry_run: true, force }).await {
        // Other commands of ours have changed it, which is as good as us.
        Err(error) if error.kind == ErrorKind::Conflict && is_only_us(&error) => {
            force = true;
            cluster.apply(object, Apply { dry_run: true, force }).await
        }
        answer => answer,
    };
    let answer = match answer {
        // A binding to a Role that is about to be made; whether it may be made has been asked for the Role.
        Err(error) if error.kind == ErrorKind::NotFound && live.is_none() && reference.kind == "RoleBinding" => {
            Value::Null
        }
        answer => hiding_error(plan, answer)?,
    };
    let changes = match &live {
        None => None,
        Some(_) if reference.kind == "Secret" => Some(token_changes(cluster, plan, &reference).await),
        Some(live) => Some(changes(live, &answer)),
    };
    Ok(Tried { object: object.clone(), reference, live, changes, force })
}

/// What `managedFields` says of us: the time of our last apply that changed anything, and our fields.
fn ours(object: &Value) -> Option<&Value> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    entries.iter().find(|entry| entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply")
}

/// The content of a Secret is compared and never shown.
async fn token_changes(cluster: &Cluster, plan: &Plan, reference: &ObjectRef) -> Vec<Change> {
    use secrecy::ExposeSecret;
    let key = (reference.name.clone(), crate::cluster::TOKEN_KEY.to_owned());
    let known = token::read(cluster, &reference.namespace, &key).await;
    let same = match (known, &plan.secret) {
        (Ok(token::Known::Token(old)), Some((_, new))) => old.expose_secret() == new.expose_secret(),
        _ => false,
    };
    let masked = || Some(Value::from("***"));
    let change = Change { path: "data.token".to_owned(), before: masked(), after: masked() };
    if same { Vec::new() } else { vec![change] }
}

fn is_only_us(error: &ClusterError) -> bool {
    let managers = conflicting_managers(&error.message);
    !managers.is_empty() && managers.iter().all(|manager| manager == FIELD_MANAGER)
}

fn explained(error: ClusterError) -> (String, Option<String>) {
    let managers = conflicting_managers(&error.message);
    if error.kind == ErrorKind::Conflict && !managers.is_empty() {
        let fix = format!(
            "leave it to {}, or take the fields over with --force-conflicts",
            managers.iter().map(|manager| format!("\"{manager}\"")).collect::<Vec<_>>().join(" and ")
        );
        return (error.message, Some(fix));
    }
    let fix = match error.kind {
        ErrorKind::Forbidden => Some("`kubectl ado permissions install` prints the Role that you need".to_owned()),
        _ => error.fix,
    };
    (error.message, fix)
}

/// The namespaces that are not there. One that may not be looked at is taken to be there.
async fn missing_namespaces(options: &Options, cluster: &Cluster, plan: &Plan) -> Result<Vec<String>, Failure> {
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

/// Creates a namespace, or sees whether that could be done. The answer is its uid.
async fn try_namespace(cluster: &Cluster, name: &str, dry_run: bool) -> Result<String, Failure> {
    let applied = cluster.apply(&namespace_object(name), Apply { dry_run, force: false }).await;
    let applied = applied.map_err(|error| {
        let fix = match error.kind {
            ErrorKind::Forbidden => Some(format!(
                "have somebody who may do that run `kubectl create namespace {name}`, or name one that you may use with -n"
            )),
            _ => error.fix,
        };
        Failure::new(Exit::Failed, error.message, fix)
    })?;
    Ok(applied["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

fn print_tried(options: &Options, plan: &Plan, missing: &[String], tried: &[Tried]) -> Result<(), Failure> {
    if let Some(format) = options.output {
        return print::objects(format, &plan.shown(!missing.is_empty()));
    }
    let mut out = std::io::stdout();
    for name in missing {
        writeln!(out, "namespace/{name} created (server dry run)")?;
    }
    for it in tried {
        let note = if missing.contains(&it.reference.namespace) { ", not checked: no namespace yet" } else { "" };
        let verb = match (&it.live, &it.changes) {
            (None, _) => "created",
            (Some(_), Some(changes)) if changes.is_empty() => "unchanged",
            (Some(_), _) => "configured",
        };
        writeln!(out, "{} {verb} (server dry run{note})", it.reference)?;
    }
    Ok(())
}

/// Deletes what was applied once and is not in the plan any more: only what carries our label, was applied by us and is
/// nobody else's.
async fn prune(cluster: &Cluster, plan: &Plan, existing: &Existing, verbs: bool) -> Result<bool, Failure> {
    let wanted: Vec<ObjectRef> = plan.objects.iter().map(ObjectRef::of).collect();
    let secret = plan.secret.as_ref().map(|(secret, _)| ObjectRef::of(secret));
    let mut pruned = false;
    for old in &existing.inventory {
        if wanted.contains(old) || plan.kept.contains(old) || secret.as_ref() == Some(old) {
            continue;
        }
        let Some(live) = cluster.get(old).await? else { continue };
        if !plan::is_ours(&live) || !applied_by_us(&live) || owner(&live).is_some() {
            say(format!("{} is not in use any more, and is left to its owner", old.long()));
            continue;
        }
        let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
        if cluster.delete(old, uid, false).await? {
            pruned = true;
            if verbs {
                let _ = writeln!(std::io::stdout(), "{old} pruned");
            }
        }
    }
    Ok(pruned)
}

/// No answer of the API server may pass the token on.
fn hiding<T>(plan: &Plan, answer: Result<T, ClusterError>) -> Result<T, Failure> {
    hiding_error(plan, answer).map_err(|error| {
        let (message, fix) = explained(error);
        Failure::new(Exit::Failed, message, fix)
    })
}

fn hiding_error<T>(plan: &Plan, answer: Result<T, ClusterError>) -> Result<T, ClusterError> {
    answer.map_err(|error| match &plan.secret {
        Some((_, value)) => ClusterError { message: token::without(&error.message, value), ..error },
        None => error,
    })
}
