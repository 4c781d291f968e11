//! `check --pre` where no cluster is: Azure DevOps, and Azure where agents are container groups.

use secrecy::ExposeSecret;

use super::{
    super::{Exit, Failure, serve::refused},
    Args, CheckResult, Target, azure, azure_devops,
};
use crate::{
    azure::{OrganizationToken, SetupError},
    config::{Config, Environment, HostConfig, TokenSource},
};

/// The configuration, if agents run elsewhere than in a cluster: that of the file, which is read with all that it names, for
/// it is used where it lies; without a file that of the environment, unless flags name a cluster. What other flags say
/// goes before. Beside it the token that was given.
pub(super) fn config(args: &Args, of_file: Option<&Config>) -> Result<Option<(Config, Option<TokenSource>)>, Failure> {
    let environment = Environment::of_this_process();
    let is_elsewhere = match of_file {
        Some(config) => !config.host.is_cluster(),
        None => !args.cluster.names_one() && Config::is_elsewhere(&environment).map_err(refused)?,
    };
    if !is_elsewhere {
        return Ok(None);
    }
    let token = args.token(true)?;
    let environment = beside_flags(args, token.as_ref(), environment);
    let config = Config::load(&environment, args.file.as_deref()).map_err(refused)?;
    Ok(Some((config, token)))
}

fn beside_flags(args: &Args, token: Option<&TokenSource>, environment: Environment) -> Environment {
    let (file, value) = match token {
        Some(TokenSource::File(path)) => (Some(path.display().to_string()), Some(String::new())),
        Some(TokenSource::Value(token)) => (Some(String::new()), Some(token.expose_secret().to_owned())),
        None => (None, None),
    };
    let said = [
        ("ORG_URL", args.org.clone()),
        ("AGENT_POOLS", Some(args.pools.join(",")).filter(|pools| !pools.is_empty())),
        ("ADO_CA_FILE", args.ca_file.as_ref().map(|path| path.display().to_string())),
        ("ORG_PAT_FILE", file),
        ("ORG_PAT", value),
    ];
    said.into_iter().fold(environment, |environment, (name, value)| match value {
        Some(value) => environment.with(name, &value),
        None => environment,
    })
}

/// All checks.
pub(super) async fn check(
    args: &Args,
    config: &Config,
    token: Option<TokenSource>,
) -> Result<Vec<CheckResult>, Failure> {
    let refused = |error: SetupError| Failure::new(Exit::Usage, error.to_string(), Some(error.fix().into()));
    let of_config = OrganizationToken::of(config).map_err(refused)?;
    let given = token.map(OrganizationToken::from);
    let of_pools = || config.pools.iter().map(|pool| pool.name.clone()).collect();
    let target = Target {
        url: args.org.clone().unwrap_or_else(|| config.organization.url.clone()),
        pools: if args.pools.is_empty() { of_pools() } else { args.pools.clone() },
        token: Some(given.unwrap_or(of_config)),
        by_entra: false,
        ca_file: args.ca_file.clone().or_else(|| config.ca_file.clone()),
        before: true,
        deep: args.deep,
        in_cluster: false,
    };
    let mut results = azure_devops(&target).await;
    if let HostConfig::ContainerInstances(aci) = &config.host {
        results.extend(azure::azure(config, aci).await);
    }
    Ok(results)
}
