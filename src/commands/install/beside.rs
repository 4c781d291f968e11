//! What stands beside `ado.yaml`: the files that it names, which come along in the ConfigMap, and what goes along with Job
//! templates.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    super::{Exit, Failure},
    existing::Existing,
    say,
    settings::read,
};
use crate::{
    cluster::{CONFIG_FILE, CONFIG_FOLDER, CONFIG_MAP, known_kind},
    config::Config,
};

/// What was brought along.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// The names of the Job templates in the ConfigMap.
    pub(super) templates: BTreeSet<String>,
    /// Where each file was read on this machine.
    pub(super) sources: BTreeMap<String, PathBuf>,
}

/// Each file that the configuration names comes along in the ConfigMap: it lies beside a file that was given, or in the
/// install already. One that is neither is an error, since the orchestrator could not start.
pub(super) fn bring_along(
    path: &Path,
    is_given: bool,
    document: &mut Value,
    files: &mut BTreeMap<String, String>,
    existing: &Existing,
) -> Result<Brought, Failure> {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut bringing = Bringing { folder, is_given, files, existing, brought: Brought::default() };
    if let Some(value) = document.get_mut("organization").and_then(|organization| organization.get_mut("caFile")) {
        bringing.bring("organization.caFile", value)?;
    }
    if let Some(value) = document.get_mut("jobTemplate") {
        bringing.template("jobTemplate", value)?;
    }
    let pools = document.get_mut("pools").and_then(Value::as_array_mut);
    for pool in pools.into_iter().flatten() {
        let templates = pool.get_mut("templates").and_then(Value::as_array_mut);
        for template in templates.into_iter().flatten() {
            if let Some(value) = template.get_mut("jobTemplate") {
                bringing.template("jobTemplate", value)?;
            }
        }
    }
    Ok(bringing.brought)
}

struct Bringing<'a> {
    folder: PathBuf,
    is_given: bool,
    files: &'a mut BTreeMap<String, String>,
    existing: &'a Existing,
    brought: Brought,
}

impl Bringing<'_> {
    fn template(&mut self, key: &str, value: &mut Value) -> Result<(), Failure> {
        self.bring(key, value)?;
        if let Some(name) = value.as_str().and_then(base_of) {
            self.brought.templates.insert(name);
        }
        Ok(())
    }

    fn bring(&mut self, key: &str, value: &mut Value) -> Result<(), Failure> {
        let Some(named) = value.as_str().filter(|named| !named.is_empty()).map(str::to_owned) else { return Ok(()) };
        let Some(base) = base_of(&named) else { return Ok(()) };
        let path = Path::new(&named);
        let in_config_map = named == base || path.parent() == Some(Path::new(CONFIG_FOLDER));
        if base == CONFIG_FILE {
            let message = format!("{key} names {named}, and {CONFIG_FILE} is the configuration itself");
            return Err(Failure::new(Exit::Usage, message, Some("give that file another name".into())));
        }
        let source = self.folder.join(&named);
        if let Some(other) = self.brought.sources.get(&base)
            && self.is_given
            && *other != source
        {
            let message = format!("two files are called {base}; beside {CONFIG_FILE} there is room for one");
            return Err(Failure::new(Exit::Usage, message, Some("rename one of them".into())));
        }
        if self.files.contains_key(&base) && (in_config_map || self.brought.sources.contains_key(&base)) {
            // It came by a flag or by an earlier key, or is in the install whose configuration this is.
        } else if self.is_given && source.is_file() {
            self.files.insert(base.clone(), read(key, &source)?);
            self.brought.sources.insert(base.clone(), source);
        } else if let Some(text) = self.existing.files.get(&base).filter(|_| in_config_map) {
            say(format!("{key}: {base} is not beside the file that is given; the install's own stays"));
            self.files.insert(base.clone(), text.clone());
        } else if path.is_absolute() && !in_config_map && self.existing.mounts(path) {
            return Ok(());
        } else {
            return Err(self.missing(key, &named));
        }
        if named != base {
            *value = base.into();
        }
        Ok(())
    }

    fn missing(&self, key: &str, named: &str) -> Failure {
        if self.is_given {
            let message = format!(
                "{key} names {named}, which is neither beside {CONFIG_FILE} ({}) nor in the install: the orchestrator \
                 could not start",
                self.folder.join(named).display()
            );
            return Failure::new(Exit::Usage, message, Some(format!("put the file there, or take {key} out")));
        }
        let message = format!(
            "{key} names {named}, which is not in the ConfigMap {CONFIG_MAP}: the orchestrator could not start"
        );
        let fix = format!("give {CONFIG_FILE} with -f from a folder that has the file beside it");
        Failure::new(Exit::Failed, message, Some(fix))
    }
}

fn base_of(named: &str) -> Option<String> {
    Some(Path::new(named).file_name()?.to_string_lossy().into_owned())
}

/// What goes along with the Job templates: each with its namespace where it has one.
pub(super) fn documents(config: &Config, secrets: &[Value], agents_namespace: &str) -> Vec<Value> {
    let mut documents: Vec<Value> = Vec::new();
    let others = config.agents.values().filter_map(|agents| agents.job_template.as_ref());
    for document in others.flat_map(|template| &template.others).chain(secrets) {
        for item in items(document) {
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

/// The objects of a document: those of a list, else itself.
pub(super) fn items(document: &Value) -> &[Value] {
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let items = document["items"].as_array().filter(|_| is_list);
    items.map_or(std::slice::from_ref(document), Vec::as_slice)
}
