//! What an apply changes: two states of an object, field by field.

use serde_json::Value;

/// Fields that the API server fills, and that say nothing about what was asked for.
const NOISE: &[&str] = &[
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.generation",
    "metadata.uid",
    "metadata.creationTimestamp",
    "metadata.annotations.deployment.kubernetes.io/revision",
    "status",
];

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// `spec.template.spec.containers[orchestrator].image`
    pub path: String,
    /// As it was; `None` if it was not there.
    pub before: Option<Value>,
    /// As it will be; `None` if it goes.
    pub after: Option<Value>,
}

/// What differs between two states of an object.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Change>) {
    if before == after || NOISE.contains(&path) {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            for (key, value) in old {
                pair(&join(key), Some(value), new.get(key), found);
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                pair(&join(key), None, Some(value), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if named(old) && named(new) => {
            let by_name = |list: &[Value], name: &Value| list.iter().find(|item| item["name"] == *name).cloned();
            let join = |item: &Value| format!("{path}[{}]", item["name"].as_str().unwrap_or_default());
            for item in old {
                pair(&join(item), Some(item), by_name(new, &item["name"]).as_ref(), found);
            }
            for item in new.iter().filter(|item| by_name(old, &item["name"]).is_none()) {
                pair(&join(item), None, Some(item), found);
            }
        }
        _ => pair_of_leaves(path, Some(before), Some(after), found),
    }
}

fn pair(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    match (before, after) {
        (Some(before), Some(after)) => compare(path, before, after, found),
        _ => pair_of_leaves(path, before, after, found),
    }
}

fn pair_of_leaves(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    if !NOISE.contains(&path) {
        found.push(Change { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
    }
}

/// Items that are known by their names, as containers and variables are.
fn named(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(|item| item["name"].is_string())
}

/// The lines of two texts that differ, with `-` or `+` before them. Long texts are compared from both ends only.
#[must_use]
pub fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let same_start = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let (old, new) = (&old[same_start..], &new[same_start..]);
    let same_end = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other).count();
    let (old, new) = (&old[..old.len() - same_end], &new[..new.len() - same_end]);
    if old.len() * new.len() > 1_000_000 {
        let old = old.iter().map(|line| format!("- {line}"));
        return old.chain(new.iter().map(|line| format!("+ {line}"))).collect();
    }
    // The longest common subsequence of what is left.
    let mut longest = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] = match old[i] == new[j] {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named_by_its_path_and_what_the_server_fills_is_not() {
        let before = json!({"metadata": {"resourceVersion": "1", "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"replicas": 1, "containers": [{"name": "a", "image": "x:1"}], "args": ["a"]}, "status": {"a": 1}});
        let after = json!({"metadata": {"resourceVersion": "2", "managedFields": []},
            "spec": {"replicas": 2, "containers": [{"name": "a", "image": "x:2"}, {"name": "b"}], "args": ["b"]}});
        let paths: Vec<_> = changes(&before, &after).into_iter().map(|change| change.path).collect();
        let expected =
            ["metadata.annotations", "spec.replicas", "spec.containers[a].image", "spec.containers[b]", "spec.args"];
        assert_eq!(paths, expected);
        assert!(changes(&before, &before).is_empty());
    }

    #[test]
    fn of_two_texts_the_lines_that_differ_are_shown() {
        assert_eq!(changed_lines("a\nb\nc\nd", "a\nx\nc\ny\nd"), ["- b", "+ x", "+ y"]);
        assert_eq!(changed_lines("a\n", "a\n"), Vec::<String>::new());
        assert_eq!(changed_lines("", "a"), ["+ a"]);
    }
}
