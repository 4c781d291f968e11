//! Puts the settings together: defaults, what has to be there, what contradicts what.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    AgentSpec, Config, HostConfig, JobTemplate, Organization, Os, Polling, Registration, TokenSource,
    environment::Environment,
    error::Problems,
    host, kubernetes_names as names, near_miss, organization,
    origin::{Found, prefer},
    pools::{PoolSettings, TemplateSettings},
    settings::{Settings, at_most, readable, shown},
};
use crate::core::{AgentTemplate, DEFAULT_PREFIX, PoolPolicy, Retention, Scale};

const START_TIMEOUT: Duration = Duration::from_mins(5);
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
const KEEP_FINISHED: Duration = Duration::from_mins(10);
const KEEP_FAILED: Duration = Duration::from_hours(24);

/// The port of health and metrics in a pod.
const PORT: u16 = 8080;

/// The configuration that the settings make. `None` where something is missing or wrong, which has been reported.
pub(super) fn config(settings: Settings, environment: &Environment, problems: &Problems) -> Option<Config> {
    for warning in near_miss::warnings(environment) {
        problems.warn(warning);
    }
    let organization = organization(&settings, environment, problems);
    let host = host::host(&settings, environment, Path::is_file, problems);
    let ca_file = ca_file(&settings, environment, problems);
    let mut assembly =
        Assembly { settings: &settings, problems, job_templates: BTreeMap::new(), agents: BTreeMap::new() };
    let pools = match &settings.pools {
        Some(pools) => Some(assembly.pools(&pools.value, host.as_ref())),
        None if settings.in_file.contains(&"AGENT_POOLS") => None,
        None => {
            let needed = "AGENT_POOLS is not set, and no file names pools";
            let mend =
                "set AGENT_POOLS to the names of the agent pools to serve, for example AGENT_POOLS=Linux,Windows";
            environment.report_missing(&["AGENT_POOLS"], needed, mend, problems);
            None
        }
    };
    let agents = assembly.agents;
    Some(Config {
        organization: organization?,
        host: host?,
        pools: pools?,
        max_agents: value(settings.max_agents.as_ref()),
        respect_parallel_jobs: value(settings.respect_parallel_jobs.as_ref()).unwrap_or(true),
        start_timeout: value(settings.start_timeout.as_ref()).unwrap_or(START_TIMEOUT),
        idle_timeout: value(settings.idle_timeout.as_ref()).unwrap_or(IDLE_TIMEOUT),
        retention: Retention {
            finished: value(settings.keep_finished.as_ref()).unwrap_or(KEEP_FINISHED),
            failed: value(settings.keep_failed.as_ref()).unwrap_or(KEEP_FAILED),
        },
        registration: value(settings.registration.as_ref()).unwrap_or(Registration::Auto),
        agents,
        installation_id: settings.installation_id.map(|id| id.value),
        polling: value(settings.polling.as_ref()).unwrap_or(Polling::Adaptive),
        run_once: value(settings.run_once.as_ref()).unwrap_or(false),
        listen: value(settings.listen.as_ref()).unwrap_or_else(|| default_listen(environment)),
        ca_file,
        warnings: Vec::new(),
    })
}

fn value<T: Copy>(found: Option<&Found<T>>) -> Option<T> {
    found.map(|found| found.value)
}

fn default_listen(environment: &Environment) -> SocketAddr {
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
    let token = match (&settings.token, &settings.token_file) {
        (Some(token), _) => Some(TokenSource::Value(token.value.clone())),
        (None, Some(file)) => token_file(file, problems),
        (None, None) if settings.in_file.contains(&"ORG_PAT_FILE") => None,
        (None, None) => {
            let needed = "neither ORG_PAT_FILE nor ORG_PAT is set, and no file has organization.tokenFile";
            let mend = "set ORG_PAT_FILE to a file with a token that may manage agent pools, or ORG_PAT to the token";
            environment.report_missing(&["ORG_PAT_FILE", "ORG_PAT"], needed, mend, problems);
            None
        }
    };
    Some(Organization { url: url?.value.clone(), token: token? })
}

fn token_file(file: &Found<PathBuf>, problems: &Problems) -> Option<TokenSource> {
    if !readable(file, problems) {
        return None;
    }
    let source = TokenSource::File(file.value.clone());
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
        if readable(file, problems) && !holds_certificates(&file.value) {
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
    std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----"))
}

/// Makes pools, and collects how their agents are made.
struct Assembly<'a> {
    settings: &'a Settings,
    problems: &'a Problems,
    /// Job templates that have been read, or could not be.
    job_templates: BTreeMap<PathBuf, Option<JobTemplate>>,
    agents: BTreeMap<(String, String), AgentSpec>,
}

impl Assembly<'_> {
    fn pools(&mut self, pools: &[PoolSettings], host: Option<&HostConfig>) -> Vec<PoolPolicy> {
        if let Some(prefix) = &self.settings.job_prefix
            && let Some(changed) = names::changed_prefix(&prefix.value)
        {
            self.problems.warn(format!("{} cannot stand in names as it is; it becomes {changed}-", prefix.origin));
        }
        let policies: Vec<PoolPolicy> = pools.iter().map(|pool| self.pool(pool, host)).collect();
        let least: u32 = policies.iter().flat_map(|pool| &pool.templates).map(|template| template.scale.min).sum();
        if let Some(max) = self.settings.max_agents.as_ref().filter(|max| least > max.value) {
            let message = format!(
                "the least numbers of agents of all pools are {least} together, more than {} ({})",
                max.origin, max.value
            );
            self.problems.error_with_fix(message, "lower the ones or raise the other");
        }
        policies
    }

    fn pool(&mut self, pool: &PoolSettings, host: Option<&HostConfig>) -> PoolPolicy {
        let max = prefer(pool.max.clone(), self.settings.pool_max.clone(), self.problems);
        let counted = self.template_for_counts(pool);
        let mut templates = Vec::new();
        for (index, template) in pool.templates.iter().enumerate() {
            let spec = self.agent_spec(template, host);
            let min = self.count_of(&template.min, &self.settings.pool_min, counted == Some(index));
            let idle = self.count_of(&template.idle, &self.settings.pool_idle, counted == Some(index));
            self.check_scale(template, min.as_ref(), idle.as_ref(), max.as_ref());
            let own_prefix = spec.job_template.as_ref().and_then(JobTemplate::name_prefix);
            let prefix = self.settings.job_prefix.as_ref().map(|prefix| prefix.value.as_str());
            templates.push(AgentTemplate {
                name: template.name.clone(),
                name_prefix: own_prefix.or(prefix).unwrap_or(DEFAULT_PREFIX).to_owned(),
                capabilities: template.capabilities.clone(),
                ignore_demands: template.ignore_demands.clone(),
                scale: Scale {
                    min: value(min.as_ref()).unwrap_or(0),
                    idle: value(idle.as_ref()).unwrap_or(0),
                    max: value(template.max.as_ref()),
                },
                schedules: template.schedules.iter().map(|settings| settings.schedule.clone()).collect(),
            });
            self.agents.insert((pool.name.clone(), template.name.clone()), spec);
        }
        self.check_reach(pool);
        let least: u32 = templates.iter().map(|template| template.scale.min).sum();
        if let Some(max) = max.as_ref().filter(|max| least > max.value && templates.len() > 1) {
            let message = format!(
                "{}: its templates' minAgents are {least} together, more than {} ({})",
                pool.origin, max.origin, max.value
            );
            self.problems.error_with_fix(message, "lower the ones or raise the other");
        }
        PoolPolicy { name: pool.name.clone(), max_agents: value(max.as_ref()), templates }
    }

    /// Counts of a whole pool belong to the template that serves whatever no other does.
    fn template_for_counts(&self, pool: &PoolSettings) -> Option<usize> {
        let templates = &pool.templates;
        let accepts_all = templates.iter().position(|template| template.capabilities.is_none());
        let chosen = accepts_all.or_else(|| (templates.len() == 1).then_some(0));
        if chosen.is_none() {
            for count in [&self.settings.pool_min, &self.settings.pool_idle].into_iter().flatten() {
                self.problems.warn(format!(
                    "{} is not used for the pool \"{}\": none of its templates accepts every request, so it has to \
                     be said which one",
                    count.origin, pool.name
                ));
            }
        }
        chosen
    }

    fn count_of(&self, own: &Option<Found<u32>>, of_pool: &Option<Found<u32>>, counted: bool) -> Option<Found<u32>> {
        prefer(own.clone(), of_pool.clone().filter(|_| counted), self.problems)
    }

    fn check_scale(
        &self,
        template: &TemplateSettings,
        min: Option<&Found<u32>>,
        idle: Option<&Found<u32>>,
        pool_max: Option<&Found<u32>>,
    ) {
        let check = |min, idle, own_max| {
            for max in [own_max, pool_max, self.settings.max_agents.as_ref()] {
                at_most(min, max, self.problems);
                at_most(idle, max, self.problems);
            }
        };
        check(min, idle, template.max.as_ref());
        for schedule in &template.schedules {
            let max = schedule.max.as_ref().or(template.max.as_ref());
            check(schedule.min.as_ref().or(min), schedule.idle.as_ref().or(idle), max);
        }
    }

    /// A request gets the first template that satisfies it: after one that accepts all, no other gets any.
    fn check_reach(&self, pool: &PoolSettings) {
        let Some(accepting) = pool.templates.iter().position(|template| template.capabilities.is_none()) else {
            return;
        };
        for template in &pool.templates[accepting + 1..] {
            self.problems.warn(format!(
                "{}: the template {} gets no request: {} stands before it, has no capabilities, and so accepts every one",
                template.origin, template.name, pool.templates[accepting].name
            ));
        }
    }

    /// An image of the agent template's own replaces the Job template's; one for all only fills what is left out.
    fn agent_spec(&mut self, template: &TemplateSettings, host: Option<&HostConfig>) -> AgentSpec {
        let job_template = template.job_template.clone().or_else(|| self.settings.job_template.clone());
        let job_template = job_template.and_then(|file| self.job_template(&file, host));
        let os = template.os.as_ref().or(self.settings.os.as_ref());
        let their_image = job_template.as_ref().and_then(JobTemplate::image);
        let image = match (&template.image, their_image) {
            (Some(image), _) => Some(image),
            (None, Some(_)) => {
                if let Some(image) = &self.settings.image {
                    self.problems.warn(format!("{} is not used where the Job template names an image", image.origin));
                }
                None
            }
            (None, None) => self.settings.image.as_ref(),
        };
        let is_local = matches!(host, Some(HostConfig::Local(_)));
        if let Some(os) =
            os.filter(|os| os.value == Os::Windows && image.is_none() && their_image.is_none() && !is_local)
        {
            let message = format!("{} is windows, and no image is named; ours is for linux", os.origin);
            self.problems.error_with_fix(message, "set JOB_IMAGE to an agent image for Windows");
        }
        AgentSpec {
            image: image.map(|image| image.value.clone()),
            os: os.map_or(Os::Linux, |os| os.value),
            job_template,
        }
    }

    fn job_template(&mut self, file: &Found<PathBuf>, host: Option<&HostConfig>) -> Option<JobTemplate> {
        if let Some(known) = self.job_templates.get(&file.value) {
            return known.clone();
        }
        let loaded = match JobTemplate::load(&file.value) {
            Ok(template) => {
                for warning in &template.warnings {
                    self.problems.warn(format!("{}: {warning}", file.origin));
                }
                self.warn_of_other_namespace(file, &template, host);
                Some(template)
            }
            Err(errors) => {
                self.problems.errors_by_way_of(&file.origin, errors);
                None
            }
        };
        self.job_templates.insert(file.value.clone(), loaded.clone());
        loaded
    }

    fn warn_of_other_namespace(&self, file: &Found<PathBuf>, template: &JobTemplate, host: Option<&HostConfig>) {
        let Some(HostConfig::Kubernetes(kubernetes)) = host else { return };
        let theirs = template.job.pointer("/metadata/namespace").and_then(serde_json::Value::as_str);
        if let Some(theirs) = theirs.filter(|theirs| *theirs != kubernetes.namespace) {
            self.problems.warn(format!(
                "{}: the Job's namespace {theirs} is not used; Jobs are made in {}",
                file.origin, kubernetes.namespace
            ));
        }
    }
}
