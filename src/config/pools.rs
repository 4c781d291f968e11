//! Agent pools and their agent templates, as `AGENT_POOLS` lists them and as the file describes them.

use std::path::{Path, PathBuf};

use super::{
    Os, Registration,
    error::{Problems, Wrong},
    kubernetes_names as names,
    origin::{Found, Origin},
    reader::{Field, Map},
    schedules::{self, ScheduleSettings},
    timeouts::TimeoutSettings,
    value::{self, COUNT, MAXIMUM, quoted},
};
use crate::core::Capabilities;

/// The name of a pool's only template where it has no other.
const DEFAULT_TEMPLATE: &str = "default";

const POOL_KEYS: &[&str] = &["name", "limits", "templates"];
const TEMPLATE_KEYS: &[&str] = &[
    "name",
    "capabilities",
    "image",
    "os",
    "minAgents",
    "idleAgents",
    "maxAgents",
    "jobTemplate",
    "containerGroup",
    "ignoreDemands",
    "registration",
    "schedules",
    "startTimeout",
    "pullTimeout",
    "scheduleTimeout",
    "queueTimeout",
];

/// What is said of one pool.
pub(super) struct PoolSettings {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) max: Option<Found<u32>>,
    /// Never empty.
    pub(super) templates: Vec<TemplateSettings>,
}

/// What is said of one agent template.
pub(super) struct TemplateSettings {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) image: Option<Found<String>>,
    pub(super) os: Option<Found<Os>>,
    pub(super) min: Option<Found<u32>>,
    pub(super) idle: Option<Found<u32>>,
    pub(super) max: Option<Found<u32>>,
    pub(super) job_template: Option<Found<PathBuf>>,
    pub(super) container_group: Option<Found<PathBuf>>,
    pub(super) ignore_demands: Vec<String>,
    pub(super) registration: Option<Found<Registration>>,
    pub(super) schedules: Vec<ScheduleSettings>,
    pub(super) timeouts: TimeoutSettings,
}

/// Two sources agree on a pool when they name the same one.
impl PartialEq for PoolSettings {
    fn eq(&self, other: &Self) -> bool {
        is_same_pool(&self.name, &other.name)
    }
}

impl TemplateSettings {
    fn only(origin: Origin) -> Self {
        Self {
            name: DEFAULT_TEMPLATE.to_owned(),
            origin,
            capabilities: None,
            image: None,
            os: None,
            min: None,
            idle: None,
            max: None,
            job_template: None,
            container_group: None,
            ignore_demands: Vec::new(),
            registration: None,
            schedules: Vec::new(),
            timeouts: TimeoutSettings::default(),
        }
    }
}

/// A pool that stands for those that are not known.
pub(super) fn any() -> PoolSettings {
    let origin = Origin::Variable("AGENT_POOLS");
    let templates = vec![TemplateSettings::only(origin.clone())];
    PoolSettings { name: String::new(), origin, max: None, templates }
}

/// `AGENT_POOLS`: names between commas. What running installs have got away with so far is a warning.
pub(super) fn pool_list(text: &str, problems: &Problems) -> Result<Vec<PoolSettings>, Wrong> {
    let origin = Origin::Variable("AGENT_POOLS");
    let mut pools: Vec<PoolSettings> = Vec::new();
    for name in text.split(',').map(str::trim) {
        if name.is_empty() {
            problems.warn(format!("{origin} has a comma with no name beside it"));
        } else if pools.iter().any(|pool| is_same_pool(&pool.name, name)) {
            problems.warn(format!("{origin} names {} twice", quoted(name)));
        } else {
            let name = value::pool_name(name)
                .map_err(|wrong| Wrong { what: format!("has a name that {}", wrong.what), ..wrong })?;
            pools.push(PoolSettings { name, ..any() });
        }
    }
    if pools.is_empty() {
        return Err(Wrong::new("names no agent pool").mend("for example AGENT_POOLS=Linux,Windows"));
    }
    Ok(pools)
}

/// `pools` of the file. `folder` is what relative paths begin at.
pub(super) fn pools(field: &Field<'_>, folder: &Path) -> Option<Vec<PoolSettings>> {
    let mut pools: Vec<PoolSettings> = Vec::new();
    for item in field.list()? {
        let Some(map) = item.map(POOL_KEYS) else { continue };
        let max = limits(&map);
        let templates = templates(&map, folder);
        let name = named(&map, value::pool_name);
        let (Some(name), Some(templates)) = (name, templates) else { continue };
        if pools.iter().any(|pool| is_same_pool(&pool.name, &name.value)) {
            item.report(Wrong::new(format!("is the second pool named {}", quoted(&name.value))));
        }
        pools.push(PoolSettings { name: name.value, origin: item.origin(), max, templates });
    }
    Some(pools)
}

fn limits(pool: &Map<'_>) -> Option<Found<u32>> {
    pool.get("limits")?.map(&["maxAgents"])?.get("maxAgents")?.count(&MAXIMUM)
}

/// `None` where something is wrong; a pool without templates has the one that accepts every request.
fn templates(pool: &Map<'_>, folder: &Path) -> Option<Vec<TemplateSettings>> {
    let Some(field) = pool.get("templates") else {
        return Some(vec![TemplateSettings::only(pool.field().origin())]);
    };
    let items = field.list()?;
    let is_only = items.len() == 1;
    let mut templates: Vec<TemplateSettings> = Vec::new();
    for item in items {
        let Some(map) = item.map(TEMPLATE_KEYS) else { continue };
        let template = template(&map, is_only, folder);
        let Some(template) = template else { continue };
        if templates.iter().any(|other| other.name == template.name) {
            item.report(Wrong::new(format!("is the second template of its pool named {}", template.name)));
        }
        templates.push(template);
    }
    (!templates.is_empty()).then_some(templates)
}

fn template(map: &Map<'_>, is_only: bool, folder: &Path) -> Option<TemplateSettings> {
    let mut template = TemplateSettings::only(map.field().origin());
    template.capabilities = map.get("capabilities").and_then(|field| capabilities(&field));
    template.image = map.get("image").and_then(|field| field.text(names::image));
    template.os = map.get("os").and_then(|field| field.text(value::os));
    template.min = map.get("minAgents").and_then(|field| field.count(&COUNT));
    template.idle = map.get("idleAgents").and_then(|field| field.count(&COUNT));
    template.max = map.get("maxAgents").and_then(|field| field.count(&MAXIMUM));
    template.job_template = map.get("jobTemplate").and_then(|field| field.text(|text| Ok(folder.join(text))));
    template.container_group = map.get("containerGroup").and_then(|field| field.text(|text| Ok(folder.join(text))));
    template.ignore_demands = map.get("ignoreDemands").map(|field| demand_names(&field)).unwrap_or_default();
    template.registration = map.get("registration").and_then(|field| field.text(value::registration));
    template.timeouts = TimeoutSettings::of_map(map);
    template.schedules = map.get("schedules").map(|field| schedules::schedules(&field)).unwrap_or_default();
    if is_only && map.get("name").is_none() {
        return Some(template);
    }
    template.name = named(map, names::dns_label)?.value;
    Some(template)
}

fn named(map: &Map<'_>, parse: impl FnOnce(&str) -> Result<String, Wrong>) -> Option<Found<String>> {
    let Some(field) = map.get("name") else {
        map.field().report(Wrong::new("has no name").mend("add the key `name`"));
        return None;
    };
    field.text(parse)
}

fn capabilities(field: &Field<'_>) -> Option<Capabilities> {
    let map = field.any_map()?;
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for (name, field) in map.all() {
        if let Err(wrong) = capability_name(name) {
            field.report(wrong);
        }
        if pairs.iter().any(|(other, _)| other.eq_ignore_ascii_case(name) && *other != name) {
            field.report(Wrong::new("stands there already; the case of letters does not count"));
        }
        if let Some(value) = field.text(|text| Ok(text.to_owned())) {
            pairs.push((name, value.value));
        }
    }
    Some(pairs.into_iter().collect())
}

fn demand_names(field: &Field<'_>) -> Vec<String> {
    let items = field.list().unwrap_or_default();
    items.iter().filter_map(|item| item.text(capability_name)).map(|name| name.value).collect()
}

/// A demand's name ends at white space, so no other name could ever be demanded.
fn capability_name(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Wrong::new(format!("has the name {}; a capability's name has no white space in it", quoted(text))));
    }
    Ok(text.to_owned())
}

/// Azure DevOps compares the names of pools regardless of case.
fn is_same_pool(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
