//! Creating, changing and deleting, with the checks of the real API server that anybody here could run into.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    json_patch::patched,
    problem::Problem,
    resource::{CONFIG_MAPS, JOBS, NAMESPACES, PODS, Resource, SECRETS},
    store::{Key, Object, Store},
};

pub(crate) fn create(
    store: &mut Store,
    resource: &Resource,
    namespace: &str,
    mut body: Value,
) -> Result<Arc<Object>, Problem> {
    let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if resource.namespaced && store.get(&Key::new(NAMESPACES, "", namespace)).is_none() {
        return Err(Problem::not_found(NAMESPACES, namespace));
    }
    if name.is_empty() {
        let why = "Required value: name or generateName is required";
        return Err(Problem::invalid(resource, "", ("FieldValueRequired", "metadata.name", why)));
    }
    if !is_name(&name) {
        let why = format!("Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of other characters");
        return Err(Problem::invalid(resource, &name, ("FieldValueInvalid", "metadata.name", &why)));
    }
    if let Some(other) = body["metadata"]["namespace"].as_str().filter(|&other| other != namespace) {
        let message =
            format!("the namespace of the provided object does not match the namespace sent on the request ({other})");
        return Err(Problem::bad_request(message));
    }
    if body["metadata"].get("resourceVersion").is_some_and(|version| version.as_str() != Some("")) {
        return Err(Problem::has_a_version());
    }
    if resource == JOBS {
        complete_job(&name, &mut body)?;
    }
    if resource == PODS {
        body["status"] = json!({"phase": "Pending"});
    }
    if resource == NAMESPACES {
        body["status"] = json!({"phase": "Active"});
    }
    store.add(resource, Key::new(resource, namespace, &name), body)
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 253 && name.chars().all(fits) && ends(name.chars().next()) && ends(name.chars().last())
}

fn complete_job(name: &str, job: &mut Value) -> Result<(), Problem> {
    let pod = &job["spec"]["template"]["spec"];
    if !matches!(pod["restartPolicy"].as_str(), Some("Never" | "OnFailure")) {
        let why = "Required value: valid values: \"OnFailure\", \"Never\"";
        let field = "spec.template.spec.restartPolicy";
        return Err(Problem::invalid(JOBS, name, ("FieldValueRequired", field, why)));
    }
    job["status"] = json!({});
    for (field, value) in [
        ("parallelism", json!(1)),
        ("completions", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
    ] {
        let spec = job["spec"].as_object_mut().map(|spec| spec.entry(field));
        spec.map(|entry| entry.or_insert(value));
    }
    Ok(())
}

/// PUT.
pub(crate) fn replace(
    store: &mut Store,
    resource: &Resource,
    namespace: &str,
    name: &str,
    body: Value,
) -> Result<(u16, Arc<Object>), Problem> {
    let key = Key::new(resource, namespace, name);
    let Some(known) = store.get(&key).cloned() else {
        let creates = resource.put_creates && body["metadata"].get("resourceVersion").is_none();
        return match creates {
            true => create(store, resource, namespace, body).map(|object| (201, object)),
            false => Err(Problem::not_found(resource, name)),
        };
    };
    if let Some(uid) = wanted(&body, "uid").filter(|&uid| uid != known.metadata("uid")) {
        let found = known.metadata("uid");
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(Problem::conflict(resource, name, &why));
    }
    check_version(resource, name, &known, &body)?;
    if resource.put_creates && body["metadata"]["resourceVersion"].is_null() {
        let why = "Invalid value: \"\": must be specified for an update";
        let mut problem = Problem::invalid(resource, name, ("FieldValueInvalid", "metadata.resourceVersion", why));
        if let Some(details) = &mut problem.details {
            details["kind"] = json!(resource.plural);
        }
        return Err(problem);
    }
    check_what_never_changes(resource, name, &known.value, &body)?;
    store.change(resource, &key, body).map(|object| (200, object))
}

/// PATCH with a JSON merge patch.
pub(crate) fn merge(
    store: &mut Store,
    resource: &Resource,
    namespace: &str,
    name: &str,
    patch: &Value,
) -> Result<Arc<Object>, Problem> {
    let key = Key::new(resource, namespace, name);
    let known = store.get(&key).cloned().ok_or_else(|| Problem::not_found(resource, name))?;
    check_version(resource, name, &known, patch)?;
    if wanted(patch, "uid").is_some_and(|uid| uid != known.metadata("uid")) {
        // A patch is applied to what is there, whose uid never changes: no conflict, as with PUT.
        let why = "Invalid value: field is immutable";
        return Err(Problem::invalid(resource, name, ("FieldValueInvalid", "metadata.uid", why)));
    }
    let mut merged = known.value.clone();
    merge_into(&mut merged, patch);
    check_what_never_changes(resource, name, &known.value, &merged)?;
    store.change(resource, &key, merged)
}

/// PATCH with a JSON patch: all of its operations, or none.
pub(crate) fn patch(
    store: &mut Store,
    resource: &Resource,
    namespace: &str,
    name: &str,
    operations: &Value,
) -> Result<Arc<Object>, Problem> {
    let key = Key::new(resource, namespace, name);
    let known = store.get(&key).cloned().ok_or_else(|| Problem::not_found(resource, name))?;
    let mut patched = patched(&known.value, operations).map_err(Problem::unpatchable)?;
    without_empty_maps(&mut patched["metadata"]);
    check_what_never_changes(resource, name, &known.value, &patched)?;
    store.change(resource, &key, patched)
}

/// The real one does not store them.
fn without_empty_maps(metadata: &mut Value) {
    if let Some(fields) = metadata.as_object_mut() {
        fields.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
}

/// RFC 7386.
pub(crate) fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge_into(fields.entry(name).or_insert(Value::Null), change);
        }
    }
}

/// What the metadata of a body require.
fn wanted<'a>(body: &'a Value, field: &str) -> Option<&'a str> {
    body["metadata"][field].as_str().filter(|value| !value.is_empty())
}

fn check_version(resource: &Resource, name: &str, known: &Object, body: &Value) -> Result<(), Problem> {
    match wanted(body, "resourceVersion").filter(|&version| version != known.metadata("resourceVersion")) {
        Some(_) => Err(Problem::modified(resource, name)),
        None => Ok(()),
    }
}

fn check_what_never_changes(resource: &Resource, name: &str, known: &Value, wanted: &Value) -> Result<(), Problem> {
    let refuse = |field: &str| {
        let why = "Invalid value: field is immutable";
        Err(Problem::invalid(resource, name, ("FieldValueInvalid", field, why)))
    };
    if resource == JOBS && known["spec"]["template"] != wanted["spec"]["template"] {
        return refuse("spec.template.spec");
    }
    let is_fixed = (resource == SECRETS || resource == CONFIG_MAPS) && known["immutable"] == json!(true);
    if is_fixed && known["data"] != wanted["data"] {
        let why = "Forbidden: field is immutable when `immutable` is set";
        return Err(Problem::invalid(resource, name, ("FieldValueForbidden", "data", why)));
    }
    Ok(())
}

/// DELETE; the body holds preconditions and what becomes of dependents. Answers with the object or with a Status.
pub(crate) fn delete(
    store: &mut Store,
    resource: &Resource,
    namespace: &str,
    name: &str,
    options: &Value,
) -> Result<Value, Problem> {
    let key = Key::new(resource, namespace, name);
    let known = store.get(&key).cloned().ok_or_else(|| Problem::not_found(resource, name))?;
    for (field, metadata, label) in [("uid", "uid", "UID"), ("resourceVersion", "resourceVersion", "ResourceVersion")] {
        let wanted = options["preconditions"][field].as_str();
        if let Some(wanted) = wanted.filter(|&wanted| wanted != known.metadata(metadata)) {
            let found = known.metadata(metadata);
            let why =
                format!("the {label} in the precondition ({wanted}) does not match the {label} in record ({found})");
            return Err(Problem::precondition(resource, name, &why));
        }
    }
    let is_dry = options["dryRun"] == json!(["All"]);
    let removed = if is_dry { Some(Arc::clone(&known)) } else { store.remove(&key) };
    let removed = removed.ok_or_else(|| Problem::not_found(resource, name))?;
    if !is_dry && resource == JOBS && options["propagationPolicy"] == json!("Background") {
        remove_dependents(store, PODS, namespace, known.metadata("uid"));
    }
    if resource == PODS {
        return Ok(removed.value.clone());
    }
    let mut details = json!({"name": name, "kind": resource.plural, "uid": known.metadata("uid")});
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}))
}

/// What the garbage collector does.
pub(crate) fn remove_dependents(store: &mut Store, resource: &Resource, namespace: &str, job_uid: &str) {
    let dependents = store.list(resource, namespace, store.version());
    for (key, dependent) in dependents {
        if dependent.owner() == Some(job_uid) {
            store.remove(&key);
        }
    }
}
