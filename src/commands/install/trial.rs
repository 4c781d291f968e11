//! The API server's word on every object before the first one is changed: what it would become, or why not.

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    super::{Exit, Failure},
    Options,
    plan::{self, Plan},
    say, token,
};
use crate::cluster::{
    Apply, Change, Cluster, ClusterError, ErrorKind, FIELD_MANAGER, ObjectRef, TOKEN_KEY, changes,
    conflicting_managers, dry_run_create,
};

/// One object after the API server has said what it would become.
pub(super) struct Tried {
    pub(super) object: Value,
    pub(super) reference: ObjectRef,
    /// As it is now.
    pub(super) live: Option<Value>,
    /// `None` where that is not known.
    pub(super) changes: Option<Vec<Change>>,
    pub(super) force: bool,
}

/// Has the API server check every object, and collects all that it has against them.
pub(super) async fn try_all(
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
            Ok(one) => {
                if reference.kind == "Deployment" && plan::is_ours(object) {
                    failure.causes.extend(pod_refused(cluster, object, one.live.is_some()).await);
                }
                tried.push(one);
            }
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
        Some(live) if reference.kind == "Secret" && !plan::is_ours(object) => Some(secret_changes(live, &answer)),
        Some(_) if reference.kind == "Secret" => Some(token_changes(cluster, plan, &reference).await),
        Some(live) => Some(changes(live, &answer)),
    };
    Ok(Tried { object: object.clone(), reference, live, changes, force })
}

/// Quotas, limit ranges and admission look at the pod, and at no Deployment: one whose pod is refused is taken, and never
/// starts.
async fn pod_refused(cluster: &Cluster, deployment: &Value, is_there: bool) -> Option<(String, Option<String>)> {
    let template = &deployment["spec"]["template"];
    let namespace = deployment["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut metadata = template["metadata"].clone();
    metadata["name"] = "kubectl-ado-trial".into();
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    let mut answer = dry_run_create(cluster, namespace, &pod).await;
    let lacks_account = |answer: &Result<(), ClusterError>| {
        answer.as_ref().is_err_and(|error| error.message.contains("service account"))
    };
    if lacks_account(&answer) {
        // It is made together with the Deployment.
        pod["spec"]["serviceAccountName"] = "default".into();
        answer = dry_run_create(cluster, namespace, &pod).await;
    }
    let error = answer.err().filter(|error| !error.message.contains("cannot create resource"))?;
    if error.kind.is_transient() || error.message.contains("service account") {
        return None;
    }
    if error.kind == ErrorKind::Quota && is_there {
        say(format!(
            "warning: there is no room for a second pod of the orchestrator beside the old one: {}",
            error.message
        ));
        return None;
    }
    let message = format!("the orchestrator's pod is refused: {}", error.message);
    let lacks = error.message.split_once("must specify ").map(|(_, lacking)| lacking);
    let fix = match (lacks, error.kind) {
        (Some(lacking), _) => {
            let flags: Vec<&str> = ["limits", "requests"].into_iter().filter(|kind| lacking.contains(kind)).collect();
            let amounts = if lacking.contains(".memory") { "cpu=500m,memory=64Mi" } else { "cpu=500m" };
            let flags: Vec<String> = flags.iter().map(|kind| format!("--{kind} {amounts}")).collect();
            format!("give it what the quota asks for: {}", flags.join(" "))
        }
        (None, ErrorKind::Quota) => format!("kubectl -n {namespace} describe quota shows what is used up; raise it"),
        _ => format!(
            "change the rule that the message names, or install into another namespace than {namespace} with -n"
        ),
    };
    Some((message, Some(fix)))
}

/// What `managedFields` says of us: the time of our last apply that changed anything, and our fields.
pub(super) fn ours(object: &Value) -> Option<&Value> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    entries.iter().find(|entry| entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply")
}

/// A Secret that goes along with a Job template. Its content is not looked at: the server notes whether our fields change.
fn secret_changes(live: &Value, answer: &Value) -> Vec<Change> {
    if ours(live).is_some() && ours(live) == ours(answer) {
        return Vec::new();
    }
    let masked = || Some(Value::from("***"));
    vec![Change { path: "data".to_owned(), before: masked(), after: masked() }]
}

/// The content of our own Secret is compared and never shown.
async fn token_changes(cluster: &Cluster, plan: &Plan, reference: &ObjectRef) -> Vec<Change> {
    let key = (reference.name.clone(), TOKEN_KEY.to_owned());
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

/// What somebody can do about it.
pub(super) fn explained(error: ClusterError) -> (String, Option<String>) {
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

/// No answer of the API server may pass the token on.
pub(super) fn hiding_error<T>(plan: &Plan, answer: Result<T, ClusterError>) -> Result<T, ClusterError> {
    answer.map_err(|mut error| {
        if let Some((_, value)) = &plan.secret {
            error.message = token::without(&error.message, value);
        }
        // What a Job template's Secrets hold.
        for secret in plan.objects.iter().filter(|object| object["kind"] == "Secret") {
            let fields = ["data", "stringData"].iter().filter_map(|field| secret[*field].as_object());
            let values = fields.flat_map(|values| values.values()).filter_map(Value::as_str);
            for value in values.filter(|value| !value.is_empty()) {
                error.message = error.message.replace(value, "***");
            }
        }
        error
    })
}
