//! JSON patches (RFC 6902), as far as anybody here sends them: `test`, `add`, `remove` and `replace`. As the real API server
//! has it, a field that is not there can be replaced and removed: only a test can tell.

use serde_json::Value;

/// Applies all operations to a copy, or says which one cannot be.
pub(super) fn patched(target: &Value, operations: &Value) -> Result<Value, String> {
    let mut patched = target.clone();
    for operation in operations.as_array().into_iter().flatten() {
        let path = operation["path"].as_str().unwrap_or_default();
        let kind = operation["op"].as_str().unwrap_or_default();
        if apply(&mut patched, kind, path, &operation["value"]).is_none() {
            return Err(format!("{kind} operation does not apply: {path}"));
        }
    }
    Ok(patched)
}

fn apply(target: &mut Value, kind: &str, path: &str, value: &Value) -> Option<()> {
    let (parent, last) = path.rsplit_once('/')?;
    let name = last.replace("~1", "/").replace("~0", "~");
    let found = target.pointer(path).cloned();
    let parent = target.pointer_mut(parent)?;
    match (kind, parent) {
        ("test", _) => return (found.unwrap_or_default() == *value).then_some(()),
        ("remove", Value::Object(fields)) => drop(fields.remove(&name)),
        ("add" | "replace", Value::Object(fields)) => drop(fields.insert(name, value.clone())),
        _ => return None,
    }
    Some(())
}
