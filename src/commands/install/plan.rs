//! The objects of an install, in the order in which they are applied.

use std::collections::BTreeSet;

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
    cluster::{INVENTORY, ObjectRef, Parts, TOKEN_KEY, TOKEN_SECRET, namespace_object, render, token_secret},
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
        shown.extend(self.objects.iter().cloned());
        shown
    }
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
    let inventory = inventory(&plan);
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
    let Settings { config, files, agents_namespace, documents } = settings;
    let parts = Parts {
        namespace: namespace.to_owned(),
        agents_namespace: agents_namespace.clone(),
        image: options.image.clone().or_else(|| existing.image()),
        replicas: options.replicas.or_else(|| existing.replicas()),
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
    Ok(Plan { namespace, agents_namespace, config, namespaces, objects, secret: None, kept: Vec::new() })
}

/// Whether an object is one of the manifests, and not one of a Job template's documents.
pub(super) fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"]["app.kubernetes.io/part-of"] == crate::cluster::NAME
}

/// What is ours, to know later what has gone out of use.
fn inventory(plan: &Plan) -> String {
    let ours =
        plan.objects.iter().chain(plan.secret.as_ref().map(|(secret, _)| secret)).filter(|object| is_ours(object));
    let mut paths: Vec<_> = ours.map(ObjectRef::of).chain(plan.kept.iter().cloned()).map(|it| it.path()).collect();
    paths.sort();
    json!(paths).to_string()
}
