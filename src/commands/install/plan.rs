//! The objects of an install, in the order in which they are applied.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    super::{Exit, Failure},
    Options,
    existing::Existing,
    settings::Settings,
    token::{self, Token},
};
use crate::{
    cluster::{
        Apply, Cluster, ClusterError, INVENTORY, ObjectRef, Parts, TOKEN_KEY, TOKEN_SECRET, namespace_object, render,
        token_secret,
    },
    config::{Authentication, Config},
};

/// What stands in the place of a token.
const PLACEHOLDER: &str = "REPLACE-ME";

/// What is applied.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) namespace: String,
    pub(super) agents_namespace: String,
    pub(super) config: Config,
    /// The namespaces, made only if they are not there.
    pub(super) namespaces: Vec<Value>,
    /// Everything else.
    pub(super) objects: Vec<Value>,
    /// The token's Secret, which nobody is shown.
    pub(super) secret: Option<(Value, secrecy::SecretString)>,
    /// Ours, but left as it is this time.
    pub(super) kept: Vec<ObjectRef>,
    /// Applied once, and not deleted yet though it is out of use.
    pub(super) to_prune: Vec<ObjectRef>,
}

impl Plan {
    /// The objects as they may be shown: in the place of a token, a placeholder.
    pub(super) fn shown(&self, with_namespaces: bool) -> Vec<Value> {
        let mut shown: Vec<Value> = Vec::new();
        if with_namespaces {
            shown.extend(self.namespaces.iter().cloned());
        }
        if self.secret.is_some() {
            shown.push(token_secret(&self.namespace, PLACEHOLDER));
        }
        shown.extend(self.objects.iter().map(without_content));
        shown
    }
}

/// A Secret with a placeholder in the place of each value; anything else as it is.
fn without_content(object: &Value) -> Value {
    let mut object = object.clone();
    if object["kind"] != "Secret" {
        return object;
    }
    let keys = ["data", "stringData"].iter().filter_map(|field| object[*field].as_object());
    let shown: serde_json::Map<String, Value> =
        keys.flat_map(|values| values.keys()).map(|key| (key.clone(), PLACEHOLDER.into())).collect();
    if let Some(secret) = object.as_object_mut() {
        secret.shift_remove("data");
        secret.insert("stringData".to_owned(), shown.into());
        if let Some(metadata) = secret.get_mut("metadata").and_then(Value::as_object_mut) {
            // `kubectl apply` keeps the whole object there.
            metadata.shift_remove("annotations");
        }
    }
    object
}

/// The plan where nobody is asked.
pub(super) fn offline(options: &Options, namespace: &str, settings: Settings) -> Result<Plan, Failure> {
    let named = options.existing_secret.as_deref().map(token::named_secret);
    let by_entra = matches!(settings.config.organization.authentication, Authentication::Entra);
    let ours = named.is_none() && !by_entra;
    let secret = named.or_else(|| Some((TOKEN_SECRET.to_owned(), TOKEN_KEY.to_owned()))).filter(|_| !by_entra);
    let mut plan = plan(options, namespace, settings, secret, &Existing::default())?;
    if ours {
        plan.secret = Some((token_secret(namespace, PLACEHOLDER), PLACEHOLDER.to_owned().into()));
    }
    Ok(plan)
}

/// The plan for a cluster that was looked at.
pub(super) fn online(
    options: &Options,
    namespace: &str,
    settings: Settings,
    token: &Token,
    existing: &Existing,
) -> Result<Plan, Failure> {
    let mut plan = plan(options, namespace, settings, token.secret.clone(), existing)?;
    let ours = token_secret(namespace, PLACEHOLDER);
    match &token.value {
        Some(value) if token.write => {
            let mut secret = ours;
            // `data` and not `stringData`: server-side apply loses track of who owns what is only ever written.
            if let Some(secret) = secret.as_object_mut() {
                secret.shift_remove("stringData");
            }
            secret["data"] = json!({ TOKEN_KEY: STANDARD.encode(value.expose_secret()) });
            plan.secret = Some((secret, value.clone()));
        }
        _ if token.secret.as_ref().is_some_and(|(name, _)| name == TOKEN_SECRET) => {
            plan.kept.push(ObjectRef::of(&ours));
        }
        _ => {}
    }
    plan.to_prune = out_of_use(&plan, existing);
    let inventory = inventory(&plan, &plan.to_prune);
    for object in plan.objects.iter_mut().filter(|object| object["kind"] == "ConfigMap" && is_ours(object)) {
        object["metadata"]["annotations"] = json!({ INVENTORY: inventory });
    }
    Ok(plan)
}

fn plan(
    options: &Options,
    namespace: &str,
    settings: Settings,
    secret: Option<(String, String)>,
    existing: &Existing,
) -> Result<Plan, Failure> {
    let Settings { config, files, agents_namespace, documents, .. } = settings;
    let parts = Parts {
        namespace: namespace.to_owned(),
        agents_namespace: agents_namespace.clone(),
        image: options.image.clone().or_else(|| existing.image()),
        replicas: options.replicas.or_else(|| existing.replicas()),
        resources: resources(options, existing),
        entra_client_id: options.entra_client_id.clone().or_else(|| existing.entra_client_id.clone()),
        secret,
        files,
        documents: documents.clone(),
    };
    let mut objects = documents;
    objects.extend(render(&parts).map_err(|error| Failure::new(Exit::Failed, error, None))?);
    let namespaces: BTreeSet<_> = [namespace, &agents_namespace].map(str::to_owned).into();
    let namespaces =
        namespaces.iter().filter(|_| options.create_namespace).map(|name| namespace_object(name)).collect();
    let namespace = namespace.to_owned();
    Ok(Plan {
        namespace,
        agents_namespace,
        config,
        namespaces,
        objects,
        secret: None,
        kept: Vec::new(),
        to_prune: Vec::new(),
    })
}

/// The resources that flags ask for, over those that flags asked for before.
fn resources(options: &Options, existing: &Existing) -> BTreeMap<String, BTreeMap<String, String>> {
    let there = existing.resources().unwrap_or_default();
    let mut resources: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_value(there).unwrap_or_default();
    for (kind, flags) in [("limits", &options.limits), ("requests", &options.requests)] {
        if !flags.is_empty() {
            resources.entry(kind.to_owned()).or_default().extend(flags.iter().cloned());
        }
    }
    resources
}

/// Whether an object is one of the manifests, and not one of a Job template's documents.
pub(super) fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"]["app.kubernetes.io/part-of"] == crate::cluster::NAME
}

/// What was applied once and is not in the plan any more.
fn out_of_use(plan: &Plan, existing: &Existing) -> Vec<ObjectRef> {
    let secret = plan.secret.as_ref().map(|(secret, _)| ObjectRef::of(secret));
    let wanted: Vec<ObjectRef> =
        plan.objects.iter().map(ObjectRef::of).chain(plan.kept.iter().cloned()).chain(secret).collect();
    existing.inventory.iter().filter(|old| !wanted.contains(old)).cloned().collect()
}

/// What is ours, to know later what has gone out of use. What could not be deleted yet stays in it.
fn inventory(plan: &Plan, to_prune: &[ObjectRef]) -> String {
    let ours =
        plan.objects.iter().chain(plan.secret.as_ref().map(|(secret, _)| secret)).filter(|object| is_ours(object));
    let mut paths: Vec<_> = ours
        .map(ObjectRef::of)
        .chain(plan.kept.iter().cloned())
        .chain(to_prune.iter().cloned())
        .map(|it| it.path())
        .collect();
    paths.sort();
    json!(paths).to_string()
}

/// Notes what is still to be pruned after some of it was.
pub(super) async fn note_inventory(cluster: &Cluster, plan: &Plan, left: &[ObjectRef]) -> Result<(), ClusterError> {
    let inventory = inventory(plan, left);
    for object in plan.objects.iter().filter(|object| object["kind"] == "ConfigMap" && is_ours(object)) {
        let mut object = object.clone();
        object["metadata"]["annotations"][INVENTORY] = inventory.as_str().into();
        cluster.apply(&object, Apply { dry_run: false, force: true }).await?;
    }
    Ok(())
}
