//! The kinds of places where agents run, for whoever has to say what can be done there.

/// A kind of host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostKind {
    /// Jobs of a Kubernetes cluster, which the plugin's verbs reach.
    #[default]
    Kubernetes,
    /// Azure container groups.
    ContainerInstances,
    /// Processes of one machine.
    Local,
}

impl HostKind {
    /// Its name in the configuration, the status and the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::ContainerInstances => "aci",
            Self::Local => "local",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Kubernetes, Self::ContainerInstances, Self::Local].into_iter().find(|kind| kind.name() == name)
    }

    /// Where the last words of an agent are, where no verb shows them.
    #[must_use]
    pub fn last_words(self) -> Option<&'static str> {
        match self {
            Self::Kubernetes => None,
            Self::ContainerInstances => Some("the agent's last words are in the orchestrator's log"),
            Self::Local => Some("the agent's log is in AGENT_FOLDER/logs"),
        }
    }

    /// What each of its agents is there.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Kubernetes => "Job",
            Self::ContainerInstances => "container group",
            Self::Local => "process",
        }
    }
}
