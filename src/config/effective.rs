//! What is in force: each setting with its value and the place that said so, for `config view`.

use serde_json::{Map, Value, json};

use super::{
    Os, Polling, Registration,
    assemble::{IDLE_TIMEOUT, KEEP_FAILED, KEEP_FINISHED, TOKEN_FILE, default_listen},
    authentication::SignIn,
    container_instances as aci,
    environment::Environment,
    host::DEFAULT_NAMESPACE,
    origin::{Found, Origin},
    pools::{PoolSettings, TemplateSettings},
    setting_path::SettingPath,
    settings::Settings,
    timeouts::TimeoutSettings,
    value::show_duration,
};
use crate::core::HostKind;

/// One setting that is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its path in `ado.yaml`.
    pub path: SettingPath,
    /// Its value, as the file would have it.
    pub value: Value,
    /// `file ado.yaml:3:8`, `env ORG_URL` or `default`.
    pub source: String,
}

/// The settings as one document of the shape of `ado.yaml`.
#[must_use]
pub fn tree(settings: &[Setting]) -> Value {
    let mut root = json!({});
    for setting in settings {
        insert(&mut root, &setting.path.0, setting.value.clone());
    }
    root
}

fn insert(into: &mut Value, path: &[String], value: Value) {
    let Some((key, rest)) = path.split_first() else {
        *into = value;
        return;
    };
    if let Value::Array(items) = into {
        let found = items.iter().position(|item| item["name"] == json!(key));
        let index = found.unwrap_or_else(|| {
            items.push(json!({"name": key}));
            items.len() - 1
        });
        if let Some(item) = items.get_mut(index) {
            insert(item, rest, value);
        }
    } else if let Value::Object(map) = into {
        let is_list = SettingPath::is_list(key) && !rest.is_empty();
        let empty = if is_list { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
        insert(map.entry(key.clone()).or_insert(empty), rest, value);
    }
}

struct List(Vec<Setting>);

impl List {
    /// A setting with a default, or without one.
    fn add<T>(&mut self, path: &[&str], found: Option<&Found<T>>, show: impl Fn(&T) -> Value, default: Option<T>) {
        let (value, source) = match (found, default) {
            (Some(found), _) => (show(&found.value), source(&found.origin)),
            (None, Some(default)) => (show(&default), "default".to_owned()),
            (None, None) => return,
        };
        self.0.push(Setting { path: SettingPath::of(path.iter().copied()), value, source });
    }
}

fn source(origin: &Origin) -> String {
    match origin {
        Origin::Variable(name) => format!("env {name}"),
        Origin::File { place, .. } => format!("file {place}"),
    }
}

/// All settings that have a value, in the order of `docs/ado.example.yaml`.
pub(super) fn settings(settings: &Settings, environment: &Environment) -> Vec<Setting> {
    let mut list = List(Vec::new());
    let text = |text: &String| json!(text);
    let path = |path: &std::path::PathBuf| json!(path.display().to_string());
    let number = |number: &u32| json!(number);
    let flag = |flag: &bool| json!(flag);

    list.add(&["organization", "url"], settings.url.as_ref(), text, None);
    let sign_in = |sign_in: &SignIn| json!(sign_in.name());
    list.add(&["organization", "authentication"], settings.sign_in.as_ref(), sign_in, Some(SignIn::Pat));
    if settings.sign_in.as_ref().is_some_and(|found| found.value == SignIn::Entra) {
        // No token is needed, and one that is given is not used.
    } else if let Some(token) = &settings.token {
        let value = json!("(the token itself, not shown)");
        list.0.push(Setting { path: SettingPath::of(["organization", "token"]), value, source: source(&token.origin) });
    } else {
        list.add(&["organization", "tokenFile"], settings.token_file.as_ref(), path, Some(TOKEN_FILE.into()));
    }
    list.add(&["organization", "caFile"], settings.ca_file.as_ref(), path, None);
    let host = |host: &HostKind| json!(host.name());
    list.add(&["host"], settings.host.as_ref(), host, Some(HostKind::Kubernetes));
    list.add(&["namespace"], settings.namespace.as_ref(), text, Some(DEFAULT_NAMESPACE.to_owned()));
    list.add(&["initializeNamespace"], settings.initialize_namespace.as_ref(), flag, Some(true));
    list.add(&["image"], settings.image.as_ref(), text, None);
    list.add(&["os"], settings.os.as_ref(), os, Some(Os::Linux));
    list.add(&["jobTemplate"], settings.job_template.as_ref(), path, None);
    list.add(&["jobPrefix"], settings.job_prefix.as_ref(), text, Some(crate::core::DEFAULT_PREFIX.to_owned()));
    list.add(&["dockerSocketPath"], settings.docker_socket.as_ref(), path, None);
    let secret = |secret: &super::SecretKey| json!(format!("{}:{}", secret.name, secret.key));
    list.add(&["tokenSecret"], settings.token_secret.as_ref(), secret, None);
    list.add(&["agentFolder"], settings.agent_folder.as_ref(), path, None);
    container_instances(&mut list, settings);
    list.add(&["installationId"], settings.installation_id.as_ref(), text, None);
    let address = |address: &std::net::SocketAddr| json!(address.to_string());
    list.add(&["statusFile"], settings.status_file.as_ref(), path, None);
    list.add(&["listenAddress"], settings.listen.as_ref(), address, Some(default_listen(environment)));
    let polling = |polling: &Polling| match polling {
        Polling::Adaptive => json!("adaptive"),
        Polling::Every(time) => duration(time),
    };
    list.add(&["polling"], settings.polling.as_ref(), polling, Some(Polling::Adaptive));
    list.add(&["runOnce"], settings.run_once.as_ref(), flag, Some(false));
    list.add(&["limits", "maxAgents"], settings.max_agents.as_ref(), number, None);
    list.add(&["limits", "respectParallelJobs"], settings.respect_parallel_jobs.as_ref(), flag, Some(true));
    let timeouts = settings.timeouts.over(&TimeoutSettings::default());
    let defaults = [Some(timeouts.start), Some(timeouts.pull), Some(timeouts.schedule), None];
    for ((key, found), default) in settings.timeouts.all().into_iter().zip(defaults) {
        list.add(&["defaults", key], found, duration, default);
    }
    for (key, found, default) in [
        ("idleTimeout", &settings.idle_timeout, IDLE_TIMEOUT),
        ("keepFinished", &settings.keep_finished, KEEP_FINISHED),
        ("keepFailed", &settings.keep_failed, KEEP_FAILED),
    ] {
        list.add(&["defaults", key], found.as_ref(), duration, Some(default));
    }
    list.add(&["defaults", "registration"], settings.registration.as_ref(), registration, Some(Registration::Auto));
    list.add(&["defaults", "minAgents"], settings.pool_min.as_ref(), number, Some(0));
    list.add(&["defaults", "idleAgents"], settings.pool_idle.as_ref(), number, Some(0));
    list.add(&["defaults", "maxAgents"], settings.pool_max.as_ref(), number, None);
    for pool in settings.pools.iter().flat_map(|pools| &pools.value) {
        let origin = settings.pools.as_ref().map(|pools| &pools.origin);
        add_pool(&mut list, pool, origin);
    }
    list.0
}

/// Where agents are container groups, what is said of them and, beside it, what holds without a word.
fn container_instances(list: &mut List, settings: &Settings) {
    let is_chosen = settings.host.as_ref().is_some_and(|host| host.value == HostKind::ContainerInstances);
    let value = |key: &str, text: &str| match (key, text.parse::<f64>()) {
        (key, Ok(number)) if aci::NUMBERS.contains(&key) => json!(number),
        _ => json!(text),
    };
    let path = |key: &'static str| std::iter::once("containerInstances").chain(key.split('.'));
    for (key, found) in settings.aci.all() {
        let value = value(key, &found.value);
        list.0.push(Setting { path: SettingPath::of(path(key)), value, source: source(&found.origin) });
    }
    for (key, text) in aci::defaults() {
        if is_chosen && !settings.aci.all().any(|(known, _)| known == key) {
            let value = value(key, &text);
            list.0.push(Setting { path: SettingPath::of(path(key)), value, source: "default".to_owned() });
        }
    }
}

fn duration(time: &std::time::Duration) -> Value {
    json!(show_duration(*time))
}

fn registration(registration: &Registration) -> Value {
    json!(registration.name())
}

fn os(os: &Os) -> Value {
    match os {
        Os::Linux => json!("linux"),
        Os::Windows => json!("windows"),
    }
}

fn add_pool(list: &mut List, pool: &PoolSettings, origin: Option<&Origin>) {
    let origin = origin.filter(|origin| matches!(origin, Origin::Variable(_))).unwrap_or(&pool.origin);
    let name = Found { value: pool.name.clone(), origin: origin.clone() };
    list.add(&["pools", &pool.name, "name"], Some(&name), |name| json!(name), None);
    list.add(&["pools", &pool.name, "limits", "maxAgents"], pool.max.as_ref(), |number| json!(number), None);
    for template in &pool.templates {
        add_template(list, &pool.name, template);
    }
}

fn add_template(list: &mut List, pool: &str, template: &TemplateSettings) {
    let base = ["pools", pool, "templates", &template.name];
    let at = |key| [base[0], base[1], base[2], base[3], key];
    if let Some(capabilities) = &template.capabilities {
        let value = capabilities.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>();
        let found = Found { value: Value::Object(value), origin: template.origin.clone() };
        list.add(&at("capabilities"), Some(&found), Value::clone, None);
    }
    list.add(&at("image"), template.image.as_ref(), |image| json!(image), None);
    list.add(&at("os"), template.os.as_ref(), os, None);
    for (key, found) in [("minAgents", &template.min), ("idleAgents", &template.idle), ("maxAgents", &template.max)] {
        list.add(&at(key), found.as_ref(), |number| json!(number), None);
    }
    let path = |path: &std::path::PathBuf| json!(path.display().to_string());
    list.add(&at("jobTemplate"), template.job_template.as_ref(), path, None);
    list.add(&at("containerGroup"), template.container_group.as_ref(), path, None);
    if !template.ignore_demands.is_empty() {
        let found = Found { value: json!(template.ignore_demands), origin: template.origin.clone() };
        list.add(&at("ignoreDemands"), Some(&found), Value::clone, None);
    }
    for (key, found) in template.timeouts.all() {
        list.add(&at(key), found, duration, None);
    }
    list.add(&at("registration"), template.registration.as_ref(), registration, None);
    if !template.schedules.is_empty() {
        let value = format!("{} (see the file)", template.schedules.len());
        let found = Found { value: json!(value), origin: template.origin.clone() };
        list.add(&at("schedules"), Some(&found), Value::clone, None);
    }
}
