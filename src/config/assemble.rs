//! Puts the settings together: defaults, what has to be there, what contradicts what.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Authentication, Config, EntraConfig, HostConfig, Organization, Polling, TokenSource,
    authentication::authentication,
    environment::Environment,
    error::Problems,
    host, near_miss, organization,
    origin::Found,
    policies::Policies,
    pools,
    settings::{Settings, readable, shown},
    timeouts::TimeoutSettings,
};
use crate::core::Retention;

/// Where the Deployment of `manifests/` has the token.
pub(super) const TOKEN_FILE: &str = "/run/secrets/kubectl-ado/token";

pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
pub(super) const KEEP_FINISHED: Duration = Duration::from_mins(10);
pub(super) const KEEP_FAILED: Duration = Duration::from_hours(24);

/// The port of health and metrics in a pod.
const PORT: u16 = 8080;

/// The configuration that the settings make. `None` where something is missing or wrong, which has been reported.
pub(super) fn config(settings: Settings, environment: &Environment, problems: &Problems) -> Option<Config> {
    for warning in near_miss::warnings(environment) {
        problems.warn(warning);
    }
    let organization = organization(&settings, environment, problems);
    let host = host::host(&settings, environment, Path::is_file, problems);
    let entra = entra(&settings, organization.as_ref(), host.as_ref(), environment, problems);
    let ca_file = ca_file(&settings, environment, problems);
    let mut policies = Policies::new(&settings, host.as_ref(), problems);
    let pools = match &settings.pools {
        Some(pools) => Some(policies.of_pools(&pools.value)),
        None => {
            if !settings.in_file.contains(&"AGENT_POOLS") {
                report_missing_pools(environment, problems);
            }
            // What is wrong for whatever pool is said now too.
            policies.of_pools(&[pools::any()]);
            None
        }
    };
    let agents = policies.into_agents();
    Some(Config {
        organization: organization?,
        entra,
        host: host?,
        pools: pools?,
        max_agents: value(settings.max_agents.as_ref()),
        respect_parallel_jobs: value(settings.respect_parallel_jobs.as_ref()).unwrap_or(true),
        timeouts: settings.timeouts.over(&TimeoutSettings::default()),
        idle_timeout: value(settings.idle_timeout.as_ref()).unwrap_or(IDLE_TIMEOUT),
        retention: Retention {
            finished: value(settings.keep_finished.as_ref()).unwrap_or(KEEP_FINISHED),
            failed: value(settings.keep_failed.as_ref()).unwrap_or(KEEP_FAILED),
        },
        agents,
        installation_id: settings.installation_id.map(|id| id.value),
        polling: value(settings.polling.as_ref()).unwrap_or(Polling::Adaptive),
        run_once: value(settings.run_once.as_ref()).unwrap_or(false),
        listen: value(settings.listen.as_ref()).unwrap_or_else(|| default_listen(environment)),
        status_file: settings.status_file.map(|file| file.value),
        ca_file,
        private_ca_file: settings.ca_file.map(|file| file.value),
        warnings: Vec::new(),
    })
}

fn report_missing_pools(environment: &Environment, problems: &Problems) {
    let needed = "AGENT_POOLS is not set, and no file names pools";
    let mend = "set AGENT_POOLS to the names of the agent pools to serve, for example AGENT_POOLS=Linux,Windows";
    environment.report_missing(&["AGENT_POOLS"], needed, mend, problems);
}

fn value<T: Copy>(found: Option<&Found<T>>) -> Option<T> {
    found.map(|found| found.value)
}

pub(super) fn default_listen(environment: &Environment) -> SocketAddr {
    match environment.get("KUBERNETES_SERVICE_HOST") {
        Some(_) => (Ipv4Addr::UNSPECIFIED, PORT).into(),
        None => (Ipv4Addr::LOCALHOST, 0).into(),
    }
}

fn organization(settings: &Settings, environment: &Environment, problems: &Problems) -> Option<Organization> {
    let url = settings.url.as_ref();
    match url {
        Some(url) if organization::sends_token_in_clear(&url.value) => {
            problems.warn(format!("{} begins with http://: the token crosses the network in clear", url.origin));
        }
        Some(_) => {}
        None if settings.in_file.contains(&"ORG_URL") => {}
        None => {
            let needed = "ORG_URL is not set, and no file has organization.url";
            let mend = "set ORG_URL=https://dev.azure.com/YOUR-ORGANIZATION";
            environment.report_missing(&["ORG_URL"], needed, mend, problems);
        }
    }
    let authentication = authentication(settings, environment, problems);
    if let (Some(Authentication::Entra), Some(url)) = (&authentication, url)
        && !organization::is_services(&url.value)
    {
        problems.warn(format!(
            "{} does not lead to Azure DevOps Services: Azure DevOps Server knows no tokens of Entra",
            url.origin
        ));
    }
    Some(Organization { url: url?.value.clone(), authentication: authentication? })
}

/// What tokens of Entra are had with. It is looked at closely where one is needed; else it may be somebody else's.
fn entra(
    settings: &Settings,
    organization: Option<&Organization>,
    host: Option<&HostConfig>,
    environment: &Environment,
    problems: &Problems,
) -> EntraConfig {
    let is_needed = matches!(organization, Some(Organization { authentication: Authentication::Entra, .. }))
        || matches!(host, Some(HostConfig::ContainerInstances(_)));
    let unheard = Problems::hiding_secrets_of(environment);
    let config = EntraConfig::read(environment, if is_needed { problems } else { &unheard });
    let cloud = match host {
        Some(HostConfig::ContainerInstances(aci)) => aci.environment,
        _ => settings.aci.cloud().unwrap_or_default(),
    };
    EntraConfig { tenant_id: config.tenant_id.or_else(|| settings.aci.tenant()), cloud, ..config }
}

pub(super) fn token_file(file: &Found<PathBuf>, problems: &Problems) -> Option<TokenSource> {
    let source = TokenSource::File(file.value.clone());
    if problems.is_elsewhere() {
        return Some(source);
    }
    if !readable(file, problems) {
        return None;
    }
    match source.current() {
        Ok(_) => Some(source),
        Err(what) => {
            problems.error(format!("{}: {what}", file.origin));
            None
        }
    }
}

/// A bundle that we were told to use has to be there. `SSL_CERT_FILE` may be meant for others.
fn ca_file(settings: &Settings, environment: &Environment, problems: &Problems) -> Option<PathBuf> {
    if let Some(file) = &settings.ca_file {
        let Some(path) = problems.reach(&file.origin, &file.value) else { return Some(file.value.clone()) };
        let holds_none = match problems.text_of(&path) {
            Some(text) => !text.contains(CERTIFICATE),
            None => readable(file, problems) && !holds_certificates(&file.value),
        };
        if holds_none {
            let message = format!("{} names {}, which holds no certificate", file.origin, shown(&file.value));
            problems.error_with_fix(message, "it has to hold certificates in PEM form (-----BEGIN CERTIFICATE-----)");
        }
        return Some(file.value.clone());
    }
    let path = PathBuf::from(environment.get("SSL_CERT_FILE")?);
    if holds_certificates(&path) {
        return Some(path);
    }
    problems.warn(format!("SSL_CERT_FILE is not used: {} holds no certificate that can be read", shown(&path)));
    None
}

fn holds_certificates(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(CERTIFICATE))
}

/// How a certificate in PEM form begins.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
