//! Agent pools as the planner wants them, and how the agents of each of their templates are made.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    AgentSpec, GroupTemplate, HostConfig, JobTemplate, Os, Registration,
    error::Problems,
    kubernetes_names as names,
    origin::{Found, prefer},
    pools::{PoolSettings, TemplateSettings},
    settings::{Settings, at_most},
};
use crate::core::{AgentTemplate, DEFAULT_PREFIX, PoolPolicy, Recipe, Scale};

/// Makes pools, and collects how their agents are made.
pub(super) struct Policies<'a> {
    settings: &'a Settings,
    host: Option<&'a HostConfig>,
    problems: &'a Problems,
    /// Job templates that have been read, or could not be.
    job_templates: BTreeMap<PathBuf, Option<JobTemplate>>,
    /// The same of templates of container groups.
    group_templates: BTreeMap<PathBuf, Option<GroupTemplate>>,
    agents: BTreeMap<(String, String), AgentSpec>,
}

impl<'a> Policies<'a> {
    pub(super) fn new(settings: &'a Settings, host: Option<&'a HostConfig>, problems: &'a Problems) -> Self {
        let (job_templates, group_templates, agents) = Default::default();
        Self { settings, host, problems, job_templates, group_templates, agents }
    }

    /// How the agents of all these pools' templates are made.
    pub(super) fn into_agents(self) -> BTreeMap<(String, String), AgentSpec> {
        self.agents
    }

    /// The pools, checked.
    pub(super) fn of_pools(&mut self, pools: &[PoolSettings]) -> Vec<PoolPolicy> {
        if let Some(prefix) = &self.settings.job_prefix
            && let Some(changed) = names::changed_prefix(&prefix.value)
        {
            self.problems.warn(format!("{} cannot stand in names as it is; it becomes {changed}-", prefix.origin));
        }
        let policies: Vec<PoolPolicy> = pools.iter().map(|pool| self.pool(pool)).collect();
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

    fn pool(&mut self, pool: &PoolSettings) -> PoolPolicy {
        let max = prefer(pool.max.clone(), self.settings.pool_max.clone(), self.problems);
        let counted = self.template_for_counts(pool);
        let mut templates = Vec::new();
        for (index, template) in pool.templates.iter().enumerate() {
            let spec = self.agent_spec(template);
            let min = self.count_of(&template.min, &self.settings.pool_min, counted == Some(index));
            let idle = self.count_of(&template.idle, &self.settings.pool_idle, counted == Some(index));
            self.check_scale(template, min.as_ref(), idle.as_ref(), max.as_ref());
            let own_prefix = spec.job_template.as_ref().and_then(JobTemplate::name_prefix);
            let prefix = self.settings.job_prefix.as_ref().map(|prefix| prefix.value.as_str());
            templates.push(AgentTemplate {
                name: template.name.clone(),
                name_prefix: own_prefix.or(prefix).unwrap_or(DEFAULT_PREFIX).to_owned(),
                revision: spec.revision(),
                // Until it is known whether the organization carries more.
                recipe: spec.registration.recipe().unwrap_or_default(),
                recipe_reason: None,
                registration_pending: None,
                capabilities: template.capabilities.clone(),
                ignore_demands: template.ignore_demands.clone(),
                scale: Scale {
                    min: value(min.as_ref()).unwrap_or(0),
                    idle: value(idle.as_ref()).unwrap_or(0),
                    max: value(template.max.as_ref()),
                },
                schedules: template.schedules.iter().map(|settings| settings.schedule.clone()).collect(),
                timeouts: template.timeouts.over(&self.settings.timeouts),
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
        PoolPolicy { name: pool.name.clone(), max_agents: value(max.as_ref()), templates, paused: None, removed: false }
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
    fn agent_spec(&mut self, template: &TemplateSettings) -> AgentSpec {
        let job_template = template.job_template.clone().or_else(|| self.settings.job_template.clone());
        let job_template = job_template.filter(|file| self.takes_jobs(file)).and_then(|file| self.job_template(&file));
        let container_group = self.group_of(template);
        let os = template.os.as_ref().or(self.settings.os.as_ref());
        let their_image = job_template.as_ref().and_then(JobTemplate::image);
        let their_image = their_image.or_else(|| container_group.as_ref()?.image());
        let image = match (&template.image, their_image) {
            (Some(image), _) => Some(image),
            (None, Some(_)) => {
                if let Some(image) = &self.settings.image {
                    self.problems.warn(format!(
                        "{} is not used where the {} template names an image",
                        image.origin,
                        self.kind_of_template()
                    ));
                }
                None
            }
            (None, None) => self.settings.image.as_ref(),
        };
        let is_local = matches!(self.host, Some(HostConfig::Local(_)));
        if let Some(os) =
            os.filter(|os| os.value == Os::Windows && image.is_none() && their_image.is_none() && !is_local)
        {
            let message = format!("{} is windows, and no image is named; ours is for linux", os.origin);
            self.problems.error_with_fix(message, "set JOB_IMAGE to an agent image for Windows");
        }
        let their_os = container_group.as_ref().and_then(GroupTemplate::os);
        let os = os.map(|os| os.value).or(their_os);
        let host_settings = match self.host {
            Some(HostConfig::ContainerInstances(aci)) => aci.fingerprint(),
            _ => String::new(),
        };
        AgentSpec {
            image: image.map(|image| image.value.clone()),
            os: os.unwrap_or(Os::Linux),
            job_template,
            container_group,
            host_settings,
            registration: self.registration(template, os),
        }
    }

    fn are_groups(&self) -> bool {
        matches!(self.host, Some(HostConfig::ContainerInstances(_)))
    }

    fn kind_of_template(&self) -> &'static str {
        if self.are_groups() { "container group's" } else { "Job" }
    }

    /// Whether a Job template means anything here. ado-agent-orchestrator passed it over for container groups, so that
    /// installs may have one.
    fn takes_jobs(&self, file: &Found<PathBuf>) -> bool {
        if self.are_groups() {
            self.problems.warn(format!(
                "{} is not used: agents are container groups here, and AZ_TEMPLATE_FILE (containerInstances.template) names \
                 a template of those",
                file.origin
            ));
        }
        !self.are_groups()
    }

    /// The template of an agent template's container groups, its own or the one for all.
    fn group_of(&mut self, template: &TemplateSettings) -> Option<GroupTemplate> {
        if !self.are_groups() {
            if let (Some(own), Some(_)) = (&template.container_group, self.host) {
                self.problems.warn(format!("{} is not used: agents are no container groups here", own.origin));
            }
            return None;
        }
        let file = template.container_group.clone().or_else(|| self.settings.aci.template())?;
        if let Some(known) = self.group_templates.get(&file.value) {
            return known.clone();
        }
        let path = self.problems.reach(&file.origin, &file.value)?;
        let read = match self.problems.text_of(&path) {
            Some(text) => GroupTemplate::parse(&path, text),
            None => GroupTemplate::load(&path),
        };
        let loaded = read.map_err(|errors| self.problems.errors_by_way_of(&file.origin, errors)).ok();
        self.group_templates.insert(file.value, loaded.clone());
        loaded
    }

    fn registration(&self, template: &TemplateSettings, os: Option<Os>) -> Registration {
        let Some(found) = template.registration.as_ref().or(self.settings.registration.as_ref()) else {
            return Registration::Auto;
        };
        match found.value {
            Registration::Only(recipe @ (Recipe::JustInTime | Recipe::InitContainer)) if os == Some(Os::Windows) => {
                let message = format!("{} is {recipe}, which agents on Windows cannot have", found.origin);
                self.problems.error_with_fix(message, "use auto or token for templates whose os is windows");
            }
            Registration::Only(Recipe::InitContainer)
                if !matches!(self.host, None | Some(HostConfig::Kubernetes(_))) =>
            {
                let message = format!("{} is init-container, and only pods have init containers", found.origin);
                self.problems.error_with_fix(message, "use auto, just-in-time or token");
            }
            _ => {}
        }
        found.value
    }

    fn job_template(&mut self, file: &Found<PathBuf>) -> Option<JobTemplate> {
        if let Some(known) = self.job_templates.get(&file.value) {
            return known.clone();
        }
        let path = self.problems.reach(&file.origin, &file.value)?;
        let read = match self.problems.text_of(&path) {
            Some(text) => JobTemplate::parse(&path, text),
            None => JobTemplate::load(&path),
        };
        let loaded = match read {
            Ok(template) => {
                for warning in &template.warnings {
                    self.problems.warn(format!("{}: {warning}", file.origin));
                }
                self.warn_of_other_namespace(file, &template);
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

    fn warn_of_other_namespace(&self, file: &Found<PathBuf>, template: &JobTemplate) {
        let Some(HostConfig::Kubernetes(kubernetes)) = self.host else { return };
        let theirs = template.job.pointer("/metadata/namespace").and_then(serde_json::Value::as_str);
        if let Some(theirs) = theirs.filter(|theirs| *theirs != kubernetes.namespace) {
            self.problems.warn(format!(
                "{}: the Job's namespace {theirs} is not used; Jobs are made in {}",
                file.origin, kubernetes.namespace
            ));
        }
    }
}

fn value<T: Copy>(found: Option<&Found<T>>) -> Option<T> {
    found.map(|found| found.value)
}
