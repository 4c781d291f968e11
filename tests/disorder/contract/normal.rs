//! What has to be alike in two answers: all that is not different from one server, or one moment, to the next.

use serde_json::{Map, Value, json};

/// Of the metadata these have to be there, with whatever value.
const SOME_VALUE: [&str; 4] = ["uid", "resourceVersion", "creationTimestamp", "continue"];

/// Of the metadata these have to be equal.
const EQUAL: [&str; 6] = ["name", "namespace", "labels", "annotations", "generation", "remainingItemCount"];

/// Of a spec these have to be equal; the real server adds many defaults that nobody here reads.
const OF_SPEC: [&str; 7] = [
    "ttlSecondsAfterFinished",
    "backoffLimit",
    "suspend",
    "parallelism",
    "completions",
    "holderIdentity",
    "leaseDurationSeconds",
];

/// The part of an answer that has to be alike.
pub(super) fn normal(code: u16, answer: &Value) -> Value {
    json!({"code": code, "answer": content(answer)})
}

/// The same for an object, a list or a Status.
pub(super) fn content(answer: &Value) -> Value {
    match answer["kind"].as_str() {
        Some("Status") => status(answer),
        Some(kind) if kind.ends_with("List") => {
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            let items: Vec<Value> = items.iter().map(object).collect();
            json!({"kind": kind, "apiVersion": answer["apiVersion"], "metadata": metadata(&answer["metadata"]), "items": items})
        }
        _ => object(answer),
    }
}

fn status(answer: &Value) -> Value {
    let mut details = answer["details"].as_object().cloned().unwrap_or_default();
    if details.contains_key("uid") {
        details.insert("uid".to_owned(), json!("…"));
    }
    let causes = details.remove("causes").map(|causes| {
        let causes = causes.as_array().cloned().unwrap_or_default();
        let mut causes: Vec<Value> = causes.iter().map(|cause| json!([cause["reason"], cause["field"]])).collect();
        // To the real one another uid is also another selector, other labels, and twice the same.
        if let Some(uid) = causes.iter().find(|cause| cause[1] == "metadata.uid").cloned() {
            causes = vec![uid];
        }
        causes
    });
    json!({
        "status": answer["status"], "reason": answer["reason"], "code": answer["code"], "details": sorted(&details),
        "causes": causes, "says something": answer["message"].as_str().is_some_and(|message| !message.is_empty()),
    })
}

fn object(object: &Value) -> Value {
    let mut normal = json!({"kind": object["kind"], "apiVersion": object["apiVersion"]});
    normal["metadata"] = metadata(&object["metadata"]);
    for field in ["data", "immutable", "type"] {
        normal[field] = object[field].clone();
    }
    let spec: Map<String, Value> = of(&object["spec"], &OF_SPEC).collect();
    normal["spec"] = Value::Object(spec);
    normal["phase"] = object["status"]["phase"].clone();
    normal
}

fn metadata(metadata: &Value) -> Value {
    let mut normal: Map<String, Value> = of(metadata, &EQUAL).collect();
    // The real one labels namespaces with their names.
    if let Some(Value::Object(labels)) = normal.get_mut("labels") {
        labels.remove("kubernetes.io/metadata.name");
        if labels.is_empty() {
            normal.remove("labels");
        }
    }
    normal.extend(of(metadata, &SOME_VALUE).map(|(name, _)| (name, json!("…"))));
    sorted(&normal)
}

fn of<'a>(object: &'a Value, fields: &'a [&str]) -> impl Iterator<Item = (String, Value)> + 'a {
    fields.iter().filter_map(|field| {
        let value = object.get(*field).filter(|value| !value.is_null() && **value != json!(""))?;
        Some(((*field).to_owned(), value.clone()))
    })
}

/// The order of fields is nobody's business.
fn sorted(fields: &Map<String, Value>) -> Value {
    let mut names: Vec<_> = fields.iter().collect();
    names.sort_by_key(|(name, _)| name.as_str());
    Value::Object(names.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}
