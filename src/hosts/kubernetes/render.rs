//! The Job that an agent would be, without a cluster: what `template render` prints and `check` has the API server try.

use serde_json::Value;

use super::{
    KubernetesConfig,
    generations::secret_name,
    job::{Grant, JobSettings, make_job},
};
use crate::{
    config::{Config, Registration, SecretKey},
    core::{Installation, Purpose, Recipe, StartRun, run_name},
    hosts::HostError,
};

/// A Job as `serve` would make it, and what the owner of its template should know.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The Job.
    pub job: Value,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Makes the Job of an agent of this pool and agent template, for a purpose.
///
/// # Errors
///
/// There is no such agent template, or its Job template has something of the wrong type.
pub fn render(
    config: &Config,
    settings: &KubernetesConfig,
    installation: &Installation,
    (pool, template): (&str, &str),
    purpose: Purpose,
) -> Result<Rendered, HostError> {
    let key = (pool.to_owned(), template.to_owned());
    let policy = config.pools.iter().find(|policy| policy.name == pool);
    let policy = policy.and_then(|policy| policy.templates.iter().find(|policy| policy.name == template));
    let (Some(agent), Some(policy)) = (config.agents.get(&key), policy) else {
        let message = format!("pool \"{pool}\" has no agent template \"{template}\"");
        return Err(HostError::Refused { reason: "template", message, fix: None });
    };
    let organization = config.organization.url.as_str();
    let run = StartRun {
        name: run_name(&policy.name_prefix, installation, organization, pool, template, purpose, 1),
        pool: key.0,
        template: key.1,
        purpose,
        attempt: 1,
        revision: policy.revision.clone(),
        recipe: match agent.registration {
            Registration::Only(recipe) => recipe,
            // What `serve` makes as soon as it has seen that the organization carries it.
            Registration::Auto if agent.obstacle().is_none() => Recipe::JustInTime,
            Registration::Auto => Recipe::Token,
        },
    };
    // A Secret of our making is named by a hash of the token, which is not known here.
    let token = settings.token_secret.clone();
    let certified = token.is_none();
    let token =
        token.unwrap_or_else(|| SecretKey { name: secret_name(installation, "", None), key: "token".to_owned() });
    let grant = match run.recipe {
        Recipe::JustInTime => Grant::Files(None),
        Recipe::InitContainer => Grant::InitContainer(&token),
        Recipe::Token => Grant::Token(&token),
    };
    let settings = JobSettings {
        installation,
        organization,
        namespace: &settings.namespace,
        agent,
        grant,
        docker_socket: settings.docker_socket.as_deref(),
        retention: config.retention,
        way: &config.way(),
        certified: certified && config.private_ca_file.is_some(),
        lease: None,
    };
    let made = make_job(&run, &settings).map_err(|error| HostError::Refused {
        reason: "template",
        message: format!("the Job template of pool \"{pool}\": {error}"),
        fix: Some(format!("correct {}", error.path)),
    })?;
    Ok(Rendered { job: made.job, warnings: made.warnings })
}
