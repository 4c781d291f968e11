//! `check --pre` where no cluster is: Azure DevOps, and Azure where agents are container groups.

use super::{
    super::{Exit, Failure, serve::refused},
    Args, CheckResult, Target, azure, azure_devops,
};
use crate::{
    azure::{OrganizationToken, SetupError},
    config::{Config, Environment, HostConfig},
};

/// The configuration, if agents run elsewhere than in a cluster: that of the file, which is read with all that it names, for
/// it is used where it lies; without a file that of the environment, for which flags speak first.
pub(super) fn config(args: &Args, of_file: Option<&Config>) -> Result<Option<Config>, Failure> {
    let environment = Environment::of_this_process();
    let is_elsewhere = match of_file {
        Some(config) => !config.host.is_cluster(),
        None => Config::is_elsewhere(&environment),
    };
    if !is_elsewhere {
        return Ok(None);
    }
    let environment = match of_file {
        Some(_) => environment,
        None => beside_flags(args, environment),
    };
    Config::load(&environment, args.file.as_deref()).map(Some).map_err(refused)
}

fn beside_flags(args: &Args, mut environment: Environment) -> Environment {
    if let Some(url) = &args.org {
        environment = environment.with("ORG_URL", url);
    }
    if !args.pools.is_empty() {
        environment = environment.with("AGENT_POOLS", &args.pools.join(","));
    }
    environment
}

/// All checks.
pub(super) async fn check(args: &Args, config: &Config) -> Result<Vec<CheckResult>, Failure> {
    let refused = |error: SetupError| Failure::new(Exit::Usage, error.to_string(), Some(error.fix().into()));
    let of_config = OrganizationToken::of(config).map_err(refused)?;
    let given = args.token(true)?.map(OrganizationToken::from);
    let of_pools = || config.pools.iter().map(|pool| pool.name.clone()).collect();
    let target = Target {
        url: args.org.clone().unwrap_or_else(|| config.organization.url.clone()),
        pools: if args.pools.is_empty() { of_pools() } else { args.pools.clone() },
        token: Some(given.unwrap_or(of_config)),
        by_entra: false,
        ca_file: args.ca_file.clone().or_else(|| config.ca_file.clone()),
        before: true,
        deep: args.deep,
    };
    let mut results = azure_devops(&target).await;
    if let HostConfig::ContainerInstances(aci) = &config.host {
        results.extend(azure::azure(config, aci).await);
    }
    Ok(results)
}
