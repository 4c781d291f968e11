//! The configuration that an install gets: the given file or the one that is there, with what the flags change. It is
//! validated as the orchestrator will see it, before anything is sent anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    super::{Exit, Failure, serve::refused},
    DryRun, Options, ask,
    beside::{bring_along, documents},
    existing::Existing,
    say,
    template_secrets::strip,
    token,
};
use crate::{
    cluster::{CONFIG_FILE, CONFIG_FOLDER, CONFIG_MAP},
    config::{Config, Environment, HostConfig, JobTemplate, document},
};

/// The key of a Job template that `--template` gives.
pub(super) const TEMPLATE_FILE: &str = "job-template.yaml";

/// Where the token is mounted.
const TOKEN_FILE: &str = "/run/secrets/kubectl-ado/token";

/// What is installed.
#[derive(Debug)]
pub(super) struct Settings {
    /// What the files say.
    pub(super) config: Config,
    /// `ado.yaml` and what stands beside it.
    pub(super) files: BTreeMap<String, String>,
    /// Where agents run.
    pub(super) agents_namespace: String,
    /// What goes along with the Job templates.
    pub(super) documents: Vec<Value>,
    /// The token's file, where the configuration that was given names one on this machine.
    pub(super) token_file: Option<PathBuf>,
    /// The private authorities that the configuration names, as they lie in the ConfigMap.
    pub(super) authorities: Option<String>,
}

/// The settings that flags, file and what is there make; asks for what is missing where somebody can be asked.
pub(super) fn settle(options: &Options, namespace: &str, existing: &Existing) -> Result<Settings, Failure> {
    let base = Base::find(options, existing)?;
    let mut wanted = base.document.clone();
    let mut files = base.files;
    if let Some(path) = &options.template {
        let text = read("--template", path)?;
        JobTemplate::parse(path, &text).map_err(refused)?;
        files.insert(TEMPLATE_FILE.to_owned(), text);
        wanted["jobTemplate"] = TEMPLATE_FILE.into();
    }
    apply_flags(options, &mut wanted);
    let token_file = token_file(options, &base.path, &wanted);
    ask_for_missing(options, &mut wanted, existing, token_file.is_some())?;
    let brought = bring_along(&base.path, options.file.is_some(), &mut wanted, &mut files, existing)?;
    let secrets = without_secrets(&brought.templates, &mut files)?;
    leave_token_to_us(&mut wanted, token_file.is_some());
    if signs_in_with_entra(&wanted)
        && let Some(organization) = wanted["organization"].as_object_mut()
        && organization.shift_remove("tokenFile").is_some()
    {
        say("organization.tokenFile is left out: with entra there is no token to bring");
    }

    let of_file = wanted["namespace"].as_str().map(str::to_owned);
    let of_install = existing.install.as_ref().map(|install| install.agents_namespace.clone());
    let asked = options.agents_namespace.clone().or_else(|| of_file.clone().filter(|_| options.file.is_some()));
    let agents_namespace = asked.or(of_install).or(of_file.clone()).unwrap_or_else(|| namespace.to_owned());
    if agents_namespace != of_file.as_deref().unwrap_or(namespace) {
        wanted["namespace"] = agents_namespace.clone().into();
    }

    let text = match (base.text, wanted == base.document) {
        (Some(text), true) => text,
        (text, _) => {
            if text.is_some_and(|text| text.contains('#')) {
                say(format!("comments in {CONFIG_FILE} are lost, because what it says is changed"));
            }
            serde_yaml::to_string(&wanted).map_err(|error| Failure::new(Exit::Failed, error.to_string(), None))?
        }
    };
    let config = validate(&base.path, &text, &files, &agents_namespace, signs_in_with_entra(&wanted))?;
    let elsewhere = match config.host {
        HostConfig::Kubernetes(_) => None,
        HostConfig::Local(_) => Some((
            "`host: local` runs agents where the orchestrator runs, and that would be its pod",
            "leave `host` out, or run `kubectl ado serve --config FILE` on the machine that is meant",
        )),
        HostConfig::ContainerInstances(_) => Some((
            "`host: aci` runs agents as Azure container groups, and needs no cluster to run in",
            "run `kubectl ado serve --config FILE` as docs/container-instances.md says, or leave `host` out",
        )),
    };
    if let Some((message, fix)) = elsewhere {
        return Err(Failure::new(Exit::Usage, message, Some(fix.into())));
    }
    let documents = documents(&config, &secrets, &agents_namespace);
    let authorities = wanted["organization"]["caFile"].as_str().and_then(|name| files.get(name).cloned());
    files.insert(CONFIG_FILE.to_owned(), text);
    Ok(Settings { config, files, agents_namespace, documents, token_file, authorities })
}

/// The token's file that the given configuration names, if it is on this machine.
fn token_file(options: &Options, path: &Path, document: &Value) -> Option<PathBuf> {
    options.file.as_ref()?;
    let named = document["organization"]["tokenFile"].as_str().filter(|named| !named.is_empty())?;
    let file = path.parent().unwrap_or(Path::new("")).join(named);
    file.is_file().then_some(file)
}

/// Takes out of the Job templates what is secret, and gives the Secrets, which are applied by themselves.
fn without_secrets(templates: &BTreeSet<String>, files: &mut BTreeMap<String, String>) -> Result<Vec<Value>, Failure> {
    let mut secrets = Vec::new();
    for name in templates {
        let Some(text) = files.get_mut(name) else { continue };
        let stripped = strip(Path::new(name), text)?;
        if !stripped.is_other() {
            continue;
        }
        for token in &stripped.tokens {
            say(format!(
                "{name}: the token in {token} is not stored: agents get the orchestrator's own. Take it out of the file, \
                 and revoke it if others could read it"
            ));
        }
        for secret in &stripped.secrets {
            let secret_name = secret["metadata"]["name"].as_str().unwrap_or_default();
            say(format!(
                "{name}: the Secret \"{secret_name}\" is applied and not stored beside {CONFIG_FILE}. Later installs \
                 leave it as it is; kubectl apply changes it"
            ));
        }
        *text = stripped.text;
        secrets.extend(stripped.secrets);
    }
    Ok(secrets)
}

/// What the flags change.
struct Base {
    /// As it is shown in errors; relative paths in it begin at its folder.
    path: PathBuf,
    /// Its text, if there is one.
    text: Option<String>,
    document: Value,
    /// What stands beside it.
    files: BTreeMap<String, String>,
}

impl Base {
    fn find(options: &Options, existing: &Existing) -> Result<Self, Failure> {
        if let Some(path) = &options.file {
            let text = read("-f", path)?;
            let document = document(path, &text).map_err(refused)?;
            return Ok(Self { path: path.clone(), text: Some(text), document, files: BTreeMap::new() });
        }
        let mut files = existing.files.clone();
        let path = PathBuf::from(CONFIG_FILE);
        match files.remove(CONFIG_FILE) {
            Some(text) => {
                let document = document(&path, &text).map_err(|errors| {
                    let mut failure = refused(errors);
                    let fix = format!("correct it in the ConfigMap {CONFIG_MAP}, or give another file with -f");
                    failure.causes.iter_mut().for_each(|(_, old)| *old = old.take().or(Some(fix.clone())));
                    failure
                })?;
                Ok(Self { path, text: Some(text), document, files })
            }
            None => Ok(Self { path, text: None, document: existing.of_environment(), files }),
        }
    }
}

/// A file that a flag or a key names.
pub(super) fn read(flag: &str, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let fix = Some(format!("correct {flag}"));
        Failure::new(Exit::Usage, format!("{flag}: {} cannot be read: {error}", path.display()), fix)
    })
}

fn apply_flags(options: &Options, document: &mut Value) {
    let brings_token = options.pat_file.is_some() || options.existing_secret.is_some();
    let leaves_entra = brings_token && signs_in_with_entra(document);
    let mut set = |path: &[&str], value: Option<Value>| {
        if let Some(value) = value {
            set(document, path, value);
        }
    };
    set(&["organization", "url"], options.org.as_ref().map(|org| json!(org.trim().trim_end_matches('/'))));
    set(&["organization", "authentication"], options.entra_client_id.as_ref().map(|_| json!("entra")));
    set(&["organization", "authentication"], leaves_entra.then(|| json!("pat")));
    set(&["image"], options.job_image.as_ref().map(|image| json!(image)));
    set(&["limits", "maxAgents"], options.max_agents.map(|count| json!(count)));
    set(&["defaults", "minAgents"], options.min_agents.map(|count| json!(count)));
    set(&["defaults", "idleAgents"], options.idle_agents.map(|count| json!(count)));
    if !options.pools.is_empty() {
        set_pools(document, &options.pools);
    }
}

/// Whether a configuration asks for Entra in the token's place.
fn signs_in_with_entra(document: &Value) -> bool {
    document["organization"]["authentication"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("entra"))
}

/// The pools become these; those that were there keep what else is said of them.
fn set_pools(document: &mut Value, pools: &[String]) {
    let known = document["pools"].as_array().cloned().unwrap_or_default();
    let mut wanted: Vec<Value> = Vec::new();
    for pool in pools.iter().map(|pool| pool.trim()).filter(|pool| !pool.is_empty()) {
        let same = |entry: &&Value| {
            let name = entry["name"].as_str().or(entry.as_str());
            name.is_some_and(|name| name.to_lowercase() == pool.to_lowercase())
        };
        if !wanted.iter().any(|entry| same(&entry)) {
            wanted.push(known.iter().find(same).cloned().unwrap_or_else(|| json!({ "name": pool })));
        }
    }
    document["pools"] = wanted.into();
}

/// Sets a value; what is no mapping on the way to it stays, and is refused later with its place.
fn set(document: &mut Value, path: &[&str], value: Value) {
    let [first, rest @ ..] = path else {
        *document = value;
        return;
    };
    if document.is_null() {
        *document = json!({});
    }
    if let Some(map) = document.as_object_mut() {
        set(map.entry(*first).or_insert(Value::Null), rest, value);
    }
}

/// One error names all that is missing, unless somebody can be asked.
fn ask_for_missing(
    options: &Options,
    document: &mut Value,
    existing: &Existing,
    has_token_file: bool,
) -> Result<(), Failure> {
    let no_url = document["organization"]["url"].is_null();
    let no_pools = document["pools"].is_null() || document["pools"].as_array().is_some_and(Vec::is_empty);
    let needs_token = options.dry_run != DryRun::Client && !signs_in_with_entra(document);
    let no_token = needs_token && !existing.is_there() && !token::is_named(options) && !has_token_file;
    if (no_url || no_pools || no_token) && !ask::can_ask() {
        let mut causes: Vec<(String, Option<String>)> = Vec::new();
        let mut miss = |what: &str, fix: &str| causes.push((what.to_owned(), Some(fix.to_owned())));
        if no_url {
            miss(
                "the organization's URL is missing",
                "--org https://dev.azure.com/NAME, or organization.url in a file given with -f",
            );
        }
        if no_pools {
            miss("the agent pools are missing", "--pool NAME[,NAME], or pools in a file given with -f");
        }
        if no_token {
            miss(
                "the token is missing",
                "--pat-file FILE (- is standard input), --existing-secret NAME[:KEY], or the variable ADO_PAT; or \
                 --entra-client-id ID to do without",
            );
        }
        return Err(Failure { exit: Exit::Usage, causes });
    }
    if no_url {
        let url = ask::text("Organization (https://dev.azure.com/NAME)")?;
        set(document, &["organization", "url"], json!(url.trim().trim_end_matches('/')));
    }
    if no_pools {
        let pools = ask::text("Agent pools, separated by commas")?;
        set_pools(document, &pools.split(',').map(str::to_owned).collect::<Vec<_>>());
    }
    Ok(())
}

/// The token comes from a Secret that is mounted where the Deployment says.
fn leave_token_to_us(document: &mut Value, is_brought: bool) {
    let Some(organization) = document.get_mut("organization").and_then(Value::as_object_mut) else { return };
    if organization.get("tokenFile").is_some_and(|path| path != TOKEN_FILE) {
        organization.shift_remove("tokenFile");
        if !is_brought {
            say("organization.tokenFile is left out: in the pod, the token comes from a Secret");
        }
    }
}

/// Reads the text as the orchestrator's pod will.
fn validate(
    path: &Path,
    text: &str,
    files: &BTreeMap<String, String>,
    agents_namespace: &str,
    by_entra: bool,
) -> Result<Config, Failure> {
    let token_file = if by_entra { "" } else { TOKEN_FILE };
    let environment: Environment =
        [("KUBERNETES_SERVICE_HOST", "in-a-pod"), ("ORG_PAT_FILE", token_file), ("JOB_NAMESPACE", agents_namespace)]
            .into_iter()
            .collect();
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let files = files.iter().flat_map(|(name, text)| {
        let mounted = Path::new(CONFIG_FOLDER).join(name);
        [(folder.join(name), text.clone()), (mounted, text.clone())]
    });
    let config = Config::of_files(&environment, path, text, files.collect()).map_err(refused)?;
    for warning in &config.warnings {
        say(format!("warning: {warning}"));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_that_were_there_keep_what_else_is_said_of_them() {
        let mut document = json!({"pools": [{"name": "Linux", "limits": {"maxAgents": 4}}, {"name": "Old"}]});
        set_pools(&mut document, &["linux".into(), " New ".into(), "LINUX".into(), String::new()]);
        assert_eq!(document["pools"], json!([{"name": "Linux", "limits": {"maxAgents": 4}}, {"name": "New"}]));
    }

    #[test]
    fn a_value_is_set_at_its_path_and_what_is_wrong_there_stays() {
        let mut document = json!({"limits": 5});
        set(&mut document, &["limits", "maxAgents"], json!(1));
        set(&mut document, &["defaults", "minAgents"], json!(2));
        assert_eq!(document, json!({"limits": 5, "defaults": {"minAgents": 2}}));
    }
}
