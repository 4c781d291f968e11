//! The file `ado.yaml`: `docs/ado.example.yaml` shows every key.
//!
//! It is shaped like a custom resource's `spec`. Relative paths in it begin at its own folder, so that a mounted
//! ConfigMap can hold a Job template beside it.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    authentication::sign_in,
    container_instances::{self, AciSettings},
    error::{ConfigError, ConfigErrors, Problems, Wrong},
    host, kubernetes_names as names,
    organization::organization_url,
    origin::Found,
    pools,
    reader::{Field, Map, Source},
    settings::Settings,
    timeouts::TimeoutSettings,
    value::{self, COUNT, MAXIMUM, quoted},
    yaml::{self, Dialect},
};

/// The file in a folder that is given in its place.
const NAME: &str = "ado.yaml";

const KEYS: &[&str] = &[
    "organization",
    "host",
    "namespace",
    "initializeNamespace",
    "image",
    "os",
    "jobTemplate",
    "jobPrefix",
    "dockerSocketPath",
    "tokenSecret",
    "agentFolder",
    "containerInstances",
    "installationId",
    "listenAddress",
    "statusFile",
    "polling",
    "runOnce",
    "limits",
    "defaults",
    "pools",
];
const ORGANIZATION_KEYS: &[&str] = &["url", "authentication", "tokenFile", "caFile"];
const LIMIT_KEYS: &[&str] = &["maxAgents", "respectParallelJobs"];
const DEFAULT_KEYS: &[&str] = &[
    "startTimeout",
    "pullTimeout",
    "scheduleTimeout",
    "queueTimeout",
    "idleTimeout",
    "keepFinished",
    "keepFailed",
    "registration",
    "minAgents",
    "idleAgents",
    "maxAgents",
];

const IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(7 * 24);
const KEEP: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(30 * 24);

/// Reads the file, or `ado.yaml` in the folder. `None` where it cannot be read at all, which has been reported.
pub(super) fn settings(path: &Path, problems: &Problems) -> Option<Settings> {
    let path = if path.is_dir() { path.join(NAME) } else { path.to_owned() };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            problems.error(format!("--config: {} cannot be read: {error}", path.display()));
            return None;
        }
    };
    settings_of_text(&text, &path, path.parent().unwrap_or(Path::new("")), problems)
}

/// The file's text as plain data, for programs that change it. What its keys mean is not looked at.
///
/// # Errors
///
/// It is no YAML, or no single document of keys; the message has line and column.
pub fn document(path: &Path, text: &str) -> Result<serde_json::Value, ConfigErrors> {
    let problems = Problems::hiding(None);
    let documents = match yaml::parse(text, Dialect::Strict) {
        Ok(documents) => documents,
        Err(error) => {
            problems.error(error.in_file(path));
            Vec::new()
        }
    };
    let source = Source { path, problems: &problems };
    if let Some(second) = documents.get(1) {
        Field::root(source, second).report(Wrong::new("has a second document here; it has to have one"));
    }
    let document = match documents.first() {
        Some(document) => Field::root(source, document).any_map().map(|_| document.to_json()),
        None => Some(serde_json::json!({})),
    };
    problems.settle(document).map(|(document, _)| document)
}

/// Reads the text of the file called `path`, whose relative paths begin at `folder`.
pub(super) fn settings_of_text(text: &str, path: &Path, folder: &Path, problems: &Problems) -> Option<Settings> {
    let documents = match yaml::parse(text, Dialect::Strict) {
        Ok(documents) => documents,
        Err(error) => {
            problems.error(error.in_file(path));
            return None;
        }
    };
    let source = Source { path, problems };
    if let Some(second) = documents.get(1) {
        Field::root(source, second).report(Wrong::new("has a second document here; it has to have one"));
    }
    let Some(document) = documents.first() else {
        problems.warn(format!("{} says nothing", path.display()));
        return Some(Settings::default());
    };
    Some(read(&Field::root(source, document).map(KEYS)?, folder))
}

/// The text of a template's file.
pub(super) fn template(path: &Path) -> Result<String, ConfigErrors> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("{} cannot be read: {error}", super::settings::shown(path));
        ConfigErrors(vec![ConfigError { message, fix: None }])
    })
}

fn read(top: &Map<'_>, folder: &Path) -> Settings {
    let path = |field: Field<'_>| field.text(|text| Ok(folder.join(text)));
    let mut settings = Settings {
        host: top.get("host").and_then(|field| field.text(host::host_kind)),
        namespace: top.get("namespace").and_then(|field| field.text(names::dns_label)),
        initialize_namespace: top.get("initializeNamespace").and_then(|field| field.boolean()),
        image: top.get("image").and_then(|field| field.text(names::image)),
        os: top.get("os").and_then(|field| field.text(value::os)),
        job_template: top.get("jobTemplate").and_then(path),
        job_prefix: top.get("jobPrefix").and_then(|field| field.text(names::job_prefix)),
        docker_socket: top.get("dockerSocketPath").and_then(|field| field.text(value::absolute_path)),
        token_secret: top.get("tokenSecret").and_then(|field| field.text(names::secret_key)),
        agent_folder: top.get("agentFolder").and_then(path),
        installation_id: top.get("installationId").and_then(|field| field.text(names::label_value)),
        listen: top.get("listenAddress").and_then(|field| field.text(value::listen_address)),
        status_file: top.get("statusFile").and_then(path),
        polling: top.get("polling").and_then(|field| field.text(value::polling)),
        run_once: top.get("runOnce").and_then(|field| field.boolean()),
        ..Settings::default()
    };
    if let Some(map) = top.get("containerInstances").and_then(|field| field.map(container_instances::KEYS)) {
        settings.aci = AciSettings::of_map(&map, folder);
    }
    if let Some(map) = top.get("organization").and_then(|field| field.map(ORGANIZATION_KEYS)) {
        organization(&map, folder, &mut settings);
    }
    if let Some(map) = top.get("limits").and_then(|field| field.map(LIMIT_KEYS)) {
        settings.max_agents = map.get("maxAgents").and_then(|field| field.count(&MAXIMUM));
        settings.respect_parallel_jobs = map.get("respectParallelJobs").and_then(|field| field.boolean());
    }
    if let Some(map) = top.get("defaults").and_then(|field| field.map(DEFAULT_KEYS)) {
        defaults(&map, &mut settings);
    }
    if let Some(field) = top.get_even_empty("pools") {
        settings.in_file.push("AGENT_POOLS");
        let origin = field.origin();
        settings.pools = pools::pools(&field, folder).map(|value| Found { value, origin });
    }
    settings
}

fn organization(map: &Map<'_>, folder: &Path, settings: &mut Settings) {
    for (key, variable) in [("url", "ORG_URL"), ("authentication", "ORG_AUTHENTICATION"), ("tokenFile", "ORG_PAT_FILE")]
    {
        settings.in_file.extend(map.get(key).map(|_| variable));
    }
    settings.url = map.get("url").and_then(|field| field.text(organization_url));
    settings.sign_in = map.get("authentication").and_then(|field| field.text(sign_in));
    settings.token_file = map.get("tokenFile").and_then(|field| field.text(|text| token_file(text, folder)));
    settings.ca_file = map.get("caFile").and_then(|field| field.text(|text| Ok(folder.join(text))));
}

fn defaults(map: &Map<'_>, settings: &mut Settings) {
    let duration = |key: &str, range| map.get(key).and_then(|field| field.duration(range));
    settings.timeouts = TimeoutSettings::of_map(map);
    settings.idle_timeout = duration("idleTimeout", IDLE);
    settings.keep_finished = duration("keepFinished", KEEP);
    settings.keep_failed = duration("keepFailed", KEEP);
    settings.registration = map.get("registration").and_then(|field| field.text(value::registration));
    settings.pool_min = map.get("minAgents").and_then(|field| field.count(&COUNT));
    settings.pool_idle = map.get("idleAgents").and_then(|field| field.count(&COUNT));
    settings.pool_max = map.get("maxAgents").and_then(|field| field.count(&MAXIMUM));
}

fn token_file(text: &str, folder: &Path) -> Result<PathBuf, Wrong> {
    if quoted(text).starts_with('"') || text.contains('/') {
        return Ok(folder.join(text));
    }
    let wrong = Wrong::new("looks like a token; it has to be the path of a file that holds it");
    Err(wrong.mend("put the token into a file of its own, and have a new token issued if others could read this one"))
}
