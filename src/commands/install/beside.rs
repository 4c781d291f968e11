//! What stands beside `ado.yaml`: Job templates, which come along in the ConfigMap, and what goes along with these.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    super::{Exit, Failure},
    settings::{TEMPLATE_FILE, read},
};
use crate::{
    cluster::{CONFIG_FILE, CONFIG_FOLDER, known_kind},
    config::Config,
};

/// Job templates that a file names lie beside it in the ConfigMap, too.
pub(super) fn bring_along(
    path: &Path,
    is_given: bool,
    document: &mut Value,
    files: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut sources: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut bring = |value: &mut Value| -> Result<(), Failure> {
        let Some(named) = value.as_str().map(str::to_owned) else { return Ok(()) };
        let base = Path::new(&named).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let in_pod = Path::new(&named).parent().is_some_and(|parent| parent == Path::new(CONFIG_FOLDER));
        if named == TEMPLATE_FILE || (in_pod && files.contains_key(&base)) || !is_given {
            return Ok(());
        }
        let source = folder.join(&named);
        if sources.get(&base).is_some_and(|other| *other != source) {
            let message = format!("two Job templates are called {base}; beside {CONFIG_FILE} there is room for one");
            return Err(Failure::new(Exit::Usage, message, Some("rename one of them".into())));
        }
        files.insert(base.clone(), read("jobTemplate", &source)?);
        sources.insert(base.clone(), source);
        if named != base {
            *value = base.into();
        }
        Ok(())
    };
    if let Some(value) = document.get_mut("jobTemplate") {
        bring(value)?;
    }
    let pools = document.get_mut("pools").and_then(Value::as_array_mut);
    for pool in pools.into_iter().flatten() {
        let templates = pool.get_mut("templates").and_then(Value::as_array_mut);
        for template in templates.into_iter().flatten() {
            if let Some(value) = template.get_mut("jobTemplate") {
                bring(value)?;
            }
        }
    }
    Ok(())
}

/// What goes along with the Job templates: each with its namespace where it has one.
pub(super) fn documents(config: &Config, agents_namespace: &str) -> Vec<Value> {
    let mut documents: Vec<Value> = Vec::new();
    let others = config.agents.values().filter_map(|agents| agents.job_template.as_ref());
    for document in others.flat_map(|template| &template.others) {
        let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        let items = document["items"].as_array().filter(|_| is_list);
        for item in items.map_or(std::slice::from_ref(document), Vec::as_slice) {
            let mut item = item.clone();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let known = known_kind(&text(&item["apiVersion"]), &text(&item["kind"]));
            if known.is_none_or(|(_, namespaced)| namespaced) && item["metadata"]["namespace"].is_null() {
                item["metadata"]["namespace"] = agents_namespace.into();
            }
            if !documents.contains(&item) {
                documents.push(item);
            }
        }
    }
    documents
}
