//! How the agents of one template are made, and what follows from that.

use super::{GroupTemplate, JobTemplate};
use crate::core::{Recipe, short_hash};

/// How the agents of one template are made.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    /// The image to use, over that of a Job template. `None`: the Job template's own or, where it names none, ours.
    pub image: Option<String>,
    /// The operating system of image and node.
    pub os: Os,
    /// The Job template.
    pub job_template: Option<JobTemplate>,
    /// The template of its container groups.
    pub container_group: Option<GroupTemplate>,
    /// A fingerprint of what the host's settings add.
    pub host_settings: String,
    /// How its agents are to get the right to work.
    pub registration: Registration,
}

/// Our own agent image, of any tag.
const OUR_IMAGE: &str = "ghcr.io/kubectl-ado/agent";

impl AgentSpec {
    /// Whether its agents start as our own image lets them: nobody named another one, or other commands for ours.
    #[must_use]
    pub fn starts_as_ours(&self) -> bool {
        let is_ours = |image: &str| {
            image.strip_prefix(OUR_IMAGE).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
        };
        let image = self.image.as_deref().or_else(|| self.image_of_template());
        let job = self.job_template.as_ref().is_some_and(JobTemplate::has_own_command);
        let group = self.container_group.as_ref().is_some_and(GroupTemplate::has_own_command);
        image.is_none_or(is_ours) && !job && !group
    }

    fn image_of_template(&self) -> Option<&str> {
        let job = self.job_template.as_ref().and_then(JobTemplate::image);
        job.or_else(|| self.container_group.as_ref()?.image())
    }

    /// Why agents of this kind in a pod or a container group are no just-in-time ones unless that is asked for by name.
    #[must_use]
    pub fn obstacle(&self) -> Option<&'static str> {
        match self.os {
            Os::Windows => Some("an agent on Windows keeps its key in another form"),
            Os::Linux if !self.starts_as_ours() => {
                Some("its image or command is not ours; registration: just-in-time asks for it all the same")
            }
            Os::Linux => None,
        }
    }

    /// A fingerprint of all that the template's agents are made from, this program's version included.
    #[must_use]
    pub fn revision(&self) -> String {
        let Self { image, os, job_template, container_group, host_settings, registration: _ } = self;
        let job = job_template.as_ref().map(|template| template.job.to_string()).unwrap_or_default();
        let os = match os {
            Os::Linux => "linux",
            Os::Windows => "windows",
        };
        let image = image.as_deref().unwrap_or_default();
        let mut parts = vec!["revision", env!("CARGO_PKG_VERSION"), image, os, &job];
        let group = container_group.as_ref().map(|template| template.body.to_string());
        parts.extend(group.as_deref());
        if !host_settings.is_empty() {
            parts.push(host_settings);
        }
        short_hash(&parts, 10)
    }
}

/// An operating system that agents run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

/// How the agents of a template are to get the right to work for their pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// What is safest of that which the image, the host and the organization carry.
    #[default]
    Auto,
    /// This, and nothing else in its place.
    Only(Recipe),
}

impl Registration {
    /// What is asked for by name.
    #[must_use]
    pub fn recipe(self) -> Option<Recipe> {
        match self {
            Self::Auto => None,
            Self::Only(recipe) => Some(recipe),
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.recipe().map_or("auto", Recipe::name)
    }
}
