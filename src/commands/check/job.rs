//! The configuration that an install would have, and the Job of an agent of it, for the dry run.

use std::path::Path;

use serde_json::Value;

use super::super::{Exit, Failure, serve};
use crate::{
    config::{Config, Environment, HostConfig},
    core::{Installation, Purpose, RequestId, short_hash},
    hosts::kubernetes::render,
};

/// The configuration of a file for a cluster, with all that is wrong as the failure.
pub(super) fn read_config(file: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Usage, format!("{} cannot be read: {error}", file.display()), None))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    Config::of_text(&Environment::of_this_process(), &text, file, folder)
        .map(|(config, _)| config)
        .map_err(serve::refused)
}

/// The configuration that an install by flags alone would have.
pub(super) fn default_config(url: &str, pools: &[String]) -> Result<Config, Failure> {
    let pools: Vec<Value> = pools.iter().map(|pool| serde_json::json!({ "name": pool })).collect();
    let text = serde_json::json!({"organization": {"url": url}, "host": "kubernetes", "pools": pools}).to_string();
    let checked = Config::of_text(&Environment::default(), &text, Path::new("the flags"), Path::new(""));
    checked.map(|(config, _)| config).map_err(serve::refused)
}

pub(super) fn agents_namespace(config: &Config) -> Option<&str> {
    match &config.host {
        // `default` is what is meant where nothing is said; an install then has its own.
        HostConfig::Kubernetes(settings) if settings.namespace != "default" => Some(&settings.namespace),
        _ => None,
    }
}

/// The Job of an agent of the first pool's last template, which is the one for ordinary job requests.
pub(in crate::commands) fn job_of(config: &Config, namespace: &str) -> Result<Value, String> {
    let HostConfig::Kubernetes(settings) = &config.host else { return Err("agents are no Jobs here".to_owned()) };
    let settings = crate::config::KubernetesConfig { namespace: namespace.to_owned(), ..settings.clone() };
    let pool = config.pools.first().ok_or("there is no agent pool")?;
    let template = pool.templates.last().ok_or("the pool has no agent template")?;
    let installation = Installation::new(short_hash(&["check"], 16));
    let of = (pool.name.as_str(), template.name.as_str());
    let rendered = render(config, &settings, &installation, of, Purpose::Request(RequestId(0)));
    rendered.map(|rendered| rendered.job).map_err(|error| error.to_string())
}
