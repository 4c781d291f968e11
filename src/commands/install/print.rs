//! What is shown: objects for machines, and what an upgrade changes for people.

use std::io::Write;

use serde_json::{Value, json};

use super::{super::Failure, Options, options::Output, plan::Plan, say, template_secrets};
use crate::{
    cluster::{CONFIG_FILE, CONFIG_MAP, Change, INVENTORY, ObjectRef, changed_lines},
    output::{harmless, write_json, write_yaml},
};

/// The longest value that is shown on a line.
const LONGEST_VALUE: usize = 120;

/// The plan where nothing is contacted.
pub(super) fn rendered(options: &Options, plan: &Plan) -> Result<(), Failure> {
    let shown = plan.shown(options.create_namespace);
    match options.output {
        Some(format) => objects(format, &shown),
        None => {
            let mut out = std::io::stdout().lock();
            for object in &shown {
                writeln!(out, "{} created (dry run)", ObjectRef::of(object))?;
            }
            Ok(())
        }
    }
}

/// The objects in a form that `kubectl apply -f -` accepts, or their names.
pub(super) fn objects(format: Output, objects: &[Value]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match format {
        Output::Json => write_json(&mut out, &json!({"apiVersion": "v1", "kind": "List", "items": objects}))?,
        Output::Name => {
            for object in objects {
                writeln!(out, "{}", ObjectRef::of(object))?;
            }
        }
        Output::Yaml => {
            for object in objects {
                writeln!(out, "---")?;
                if object["kind"] == "Secret" && object.get("stringData").is_some() {
                    writeln!(out, "# Put the token in, or leave this out where the Secret is there already.")?;
                }
                write_yaml(&mut out, object)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// Tells a person field by field what changes; whether anything does.
pub(super) fn differences(objects: &[(ObjectRef, Option<Vec<Change>>)]) -> bool {
    let mut any = false;
    for (reference, changes) in objects {
        let changes = changes.iter().flatten().filter(|change| !change.path.contains(INVENTORY));
        let changes: Vec<_> = changes.collect();
        if changes.is_empty() {
            continue;
        }
        if !any {
            say("changes:");
        }
        any = true;
        say(format!("  {reference}"));
        for change in changes {
            difference(reference, change);
        }
    }
    any
}

fn difference(reference: &ObjectRef, Change { path, before, after }: &Change) {
    let text = |value: &Option<Value>| match value {
        Some(Value::String(text)) if text.contains('\n') => Some(text.clone()),
        _ => None,
    };
    let (mut old, new) = (text(before), text(after));
    // One that an earlier version stored may hold secrets.
    if let Some(name) = path.strip_prefix("data.")
        && (reference.kind.as_str(), reference.name.as_str()) == ("ConfigMap", CONFIG_MAP)
        && name != CONFIG_FILE
    {
        old = old.map(|text| if text.contains("kind:") { template_secrets::shown(name, &text) } else { text });
    }
    if reference.kind != "Secret" && (old.is_some() || new.is_some()) {
        say(format!("    {path}:"));
        for line in changed_lines(&old.unwrap_or_default(), &new.unwrap_or_default()) {
            say(format!("      {}", harmless(&line)));
        }
        return;
    }
    let hidden = reference.kind == "Secret";
    let shown = |value: &Option<Value>| match value {
        None => "(none)".to_owned(),
        Some(_) if hidden => "***".to_owned(),
        Some(value) => {
            let text = harmless(&value.to_string());
            match text.char_indices().nth(LONGEST_VALUE) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    };
    say(format!("    {path}: {} -> {}", shown(before), shown(after)));
}
