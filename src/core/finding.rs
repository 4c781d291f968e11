//! What can be wrong, each with a code that never changes its meaning, and what to do about it.
//!
//! Logs, Events, `status`, `check` and `explain` speak of the same things by the same codes: `ADO1xx` access to Azure
//! DevOps, `2xx` agent pools, `3xx` the cluster, `4xx` agents and their templates, `5xx` the orchestrator itself.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be, and worth knowing.
    Info,
    /// It works, and somebody should look.
    Warning,
    /// Something that should work does not.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Error => "Error",
        })
    }
}

/// Something that was found to be wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// How much it matters here.
    pub severity: Severity,
    /// What happened, to what, and why: one line.
    pub message: String,
    /// The line that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Since when it has been so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Finding {
    /// A finding with its code's own severity.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>, fix: Option<String>) -> Self {
        Self { code, severity: code.severity(), message: message.into(), fix, since: None }
    }
}

macro_rules! codes {
    ($($variant:ident = $number:literal, $severity:ident, $reason:literal, $title:literal, $about:literal;)*) => {
        /// The code of a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the title of each says what it is")]
        pub enum Code { $($variant),* }

        impl Code {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            fn entry(self) -> (u16, Severity, &'static str, &'static str, &'static str) {
                match self { $(Self::$variant => ($number, Severity::$severity, $reason, $title, $about)),* }
            }
        }
    };
}

codes! {
    TokenRejected = 101, Error, "TokenRejected", "Azure DevOps does not accept the token",
        "The token is wrong, has expired, was revoked, or belongs to another organization. Azure DevOps answers 401, or sends a \
         sign-in page (203, 302). The orchestrator goes on trying and starts no agents meanwhile. Make a new token with the scope \
         \"Agent Pools (read, manage)\" and store it with `kubectl ado auth set`; a restart is not needed. With `authentication: entra` \
         the identity has to be a user of the organization (Organization settings, Users), and Entra has to give it a token; where \
         agents are container groups, one for Azure, too.";
    TokenLacksRights = 102, Error, "TokenLacksRights", "the token may not do what is needed",
        "The token is accepted but not enough: it lacks the scope \"Agent Pools (read, manage)\", or its owner is not an \
         administrator of the agent pool (Organization settings, Agent pools, Security).";
    OrganizationNotFound = 103, Error, "OrganizationNotFound", "the organization's URL leads nowhere",
        "Something answers at that address, but no organization or collection of that name. The URL of Azure DevOps Services is \
         https://dev.azure.com/NAME; that of a Server ends with its collection: https://tfs.example/tfs/DefaultCollection.";
    Unreachable = 104, Error, "Unreachable", "Azure DevOps cannot be reached",
        "The name does not resolve, nothing listens, a firewall or NetworkPolicy drops the packets, a proxy refuses, or the TLS \
         certificate is not trusted. HTTPS_PROXY and NO_PROXY are honoured; ADO_CA_FILE names a bundle of private authorities.";
    Throttled = 105, Warning, "Throttled", "Azure DevOps asks for patience",
        "The organization's quota of calls is used up (429, Retry-After). The orchestrator waits as long as it is told and stretches \
         its polls; other tools with the same identity share the quota.";
    ServiceFailing = 106, Warning, "ServiceFailing", "Azure DevOps answers with errors",
        "Azure DevOps answered with a server error or something unreadable. The last good view is kept, nothing is started or \
         stopped on its strength alone, and the call is repeated with growing pauses. https://status.dev.azure.com tells of outages.";

    PoolNotFound = 201, Error, "PoolNotFound", "there is no such agent pool",
        "The organization has no agent pool of that name that the token's owner can see. Names are compared as Azure DevOps does, \
         without regard to case. Organization settings, Agent pools lists them; a renamed pool needs its new name in `pools`.";
    PoolIsHosted = 202, Error, "PoolIsHosted", "the agent pool is Microsoft-hosted",
        "No agents can be added to a pool that Microsoft hosts. Make a self-hosted one in Organization settings, Agent pools.";
    PoolNotManageable = 203, Error, "PoolNotManageable", "agents cannot be registered in the agent pool",
        "The token's owner can read the pool, but is no administrator of it. Organization settings, Agent pools, the pool, Security.";
    NoPlaceholder = 204, Warning, "NoPlaceholder", "the agent pool has no registered agent that could satisfy a job",
        "Azure DevOps fails a job at once when no registered agent, online or not, satisfies its demands. The orchestrator keeps an \
         offline placeholder agent for each agent template; it comes back within a minute when it was deleted.";
    UnsatisfiedDemand = 205, Error, "UnsatisfiedDemand", "no agent template satisfies a demand",
        "The job asks for a capability that no agent template of its pool declares. Add it to the capabilities of a template whose image has \
         it, add it to ignoreDemands, or correct the demand in the pipeline.";
    Pinned = 206, Info, "Pinned", "the job is meant for one certain agent",
        "The job demands an agent by name or is a pool's maintenance. A new agent would not help, so none is started.";
    ParallelJobsUsedUp = 207, Warning, "ParallelJobsUsedUp", "the organization's parallel jobs are in use",
        "Azure DevOps runs no more jobs at once than the organization has parallel jobs for. Another agent would only idle. Buy more \
         (Organization settings, Parallel jobs), wait, or set limits.respectParallelJobs: false.";
    Paused = 208, Warning, "Paused", "the agent pool is paused",
        "Somebody ran `kubectl ado pause`. No new agents are started; those that run finish their jobs.";
    AtMaximum = 209, Warning, "AtMaximum", "a maximum of agents is reached",
        "A limit of the configuration: maxAgents of the agent template, of the pool, or of the whole installation. Jobs wait until an agent ends.";
    PoolReplaced = 210, Warning, "PoolReplaced", "the agent pool of this name is another one now",
        "The pool was renamed, or deleted, and another one was made with its name. The new one is served. Agents that were started \
         before are registered in the old one: they finish their jobs, and none of them is ended because the new pool does not show it.";
    PoolRemoved = 211, Info, "PoolRemoved", "the agent pool is no longer in the configuration",
        "No agents are started in it. Idle ones are taken back, busy ones finish their jobs, placeholders and registrations are \
         removed. The pool is shown until nothing of ours is left in it.";
    Retiring = 212, Error, "Retiring", "kubectl-ado is being uninstalled",
        "`kubectl ado uninstall` asked the orchestrator to start no more agents and to remove what it made from Azure DevOps. If that \
         uninstall was interrupted, the request still stands: the same command goes on with it, `kubectl ado resume --all` (or \
         `kubectl ado install`) takes it back. docs/commands/install.md describes each state.";

    ClusterUnreachable = 301, Error, "ClusterUnreachable", "the cluster cannot be reached",
        "The API server of the kubeconfig's context does not answer.";
    Forbidden = 302, Error, "Forbidden", "you may not do this in the cluster",
        "`kubectl ado permissions COMMAND` prints the Role that a command needs.";
    OrchestratorForbidden = 303, Error, "OrchestratorForbidden", "the orchestrator's account lacks a right",
        "Its Role has been changed, is not bound, or is older than the orchestrator. `kubectl ado upgrade` restores it. Where agents \
         are container groups, its identity lacks the role on their resource group (docs/container-instances.md).";
    PodRefused = 304, Error, "PodRefused", "the cluster refuses the agents' pods",
        "Pod Security, a limit range or an admission webhook refuses them. The message names the rule: change the Job template or the rule.";
    QuotaUsedUp = 305, Warning, "QuotaUsedUp", "a quota is used up",
        "A ResourceQuota of the namespace, or the quota of container groups in the region, leaves no room for another agent. No \
         further ones are made while they are refused; they go on as soon as one ends.";
    ClusterTooOld = 306, Warning, "ClusterTooOld", "the cluster is older than what is tested",
        "kubectl-ado is tested with Kubernetes 1.28 and later.";
    NamespaceMissing = 307, Error, "NamespaceMissing", "a namespace does not exist", "`kubectl ado install` creates it.";
    OwnedByOther = 308, Warning, "OwnedByOther", "somebody else manages these objects",
        "Argo CD, Flux or Helm would undo the change. `kubectl ado install -o yaml --dry-run=client` prints what belongs into your repository.";

    ImageNotPulled = 401, Error, "ImageNotPulled", "the agent's image cannot be pulled",
        "The name or tag is wrong, the registry wants credentials (imagePullSecrets in the Job template), or the node cannot reach it. \
         Further Jobs wait until the pull works: a broken image makes four Jobs, not four hundred.";
    TemplateRefused = 402, Error, "TemplateRefused", "the Job template is refused",
        "The API server does not accept a Job made from it. `kubectl ado template validate --server` shows why without making one.";
    Unschedulable = 403, Warning, "Unschedulable", "no node takes the agent",
        "No node has the room, or matches the node selector, the affinity and the tolerations of the Job template. A cluster \
         autoscaler needs a minute or two.";
    VolumeMissing = 404, Error, "VolumeMissing", "a volume of the agent cannot be mounted",
        "A claim, ConfigMap or Secret that the Job template mounts does not exist, or is in use on another node.";
    AgentsFail = 405, Error, "AgentsFail", "agents of a template end before they come online",
        "The container exits, runs out of memory, or never registers. `kubectl ado logs --pool POOL` shows the last words; the next try \
         waits, at most five minutes.";
    TryingOut = 406, Info, "TryingOut", "an image is being tried out",
        "An image that nobody has seen working is started by four agents first. The others follow as soon as one of them is \
         online, or has run for half a minute.";
    StartTimeout = 407, Warning, "StartTimeout", "an agent does not come online in time",
        "It had its startTimeout (5m by default; pullTimeout for the image and scheduleTimeout for a node, 15m each) and was replaced. What is slow needs more of it.";
    RegistrationPending = 410, Warning, "RegistrationPending", "it is not known yet how agents can be registered",
        "With `registration: auto`, whether the organization supports just-in-time agents is tried once, on a placeholder. While \
         there is no answer no agent is started, because it would get the organization's token. The trial is repeated within seconds.";
    RegistrationByToken = 411, Warning, "RegistrationByToken", "agents hold the organization's token",
        "With `registration: auto`, the organization refused what a just-in-time agent needs, so that agents register themselves \
         with the token. Pipeline steps can read it. The message has the refusal; it is tried again every ten minutes.";

    NotInstalled = 501, Error, "NotInstalled", "kubectl-ado is not installed here", "`kubectl ado install` does that.";
    OrchestratorNotReady = 502, Error, "OrchestratorNotReady", "the orchestrator is not ready",
        "Its pod does not run, or has not yet polled a pool with success. `kubectl ado logs` shows what it says.";
    NoLeader = 503, Error, "NoLeader", "no orchestrator leads",
        "The Lease has run out and nobody has taken it: no orchestrator runs, or none may write Leases.";
    StatusStale = 504, Error, "StatusStale", "the status is old",
        "The orchestrator has written no status for a while. What is shown is how things were.";
    ConfigRejected = 505, Error, "ConfigRejected", "the changed configuration is not accepted",
        "The orchestrator keeps the one it has until the file is right. `kubectl ado config validate -f FILE` shows each mistake with its line.";
    VersionsDiffer = 506, Info, "VersionsDiffer", "plugin and orchestrator have different versions",
        "`kubectl ado upgrade` brings the orchestrator to the plugin's version.";
    StatusMissing = 507, Error, "StatusMissing", "the orchestrator has not written a status yet",
        "It has just started, is not the leader, or may not write ConfigMaps.";
    HostFailing = 508, Error, "HostFailing", "the place where agents run does not answer",
        "The orchestrator cannot list its agents there and therefore starts and stops none.";
    ClocksDiffer = 509, Warning, "ClocksDiffer", "clocks differ",
        "The clocks of the orchestrator's machine, of Azure DevOps and of the place where agents run differ by more than half a minute. \
         Agents are started and ended all the same: an age is computed from stamps of one clock only. But tokens and certificates are \
         refused where clocks differ, and schedules begin late. Let each machine take its time from NTP.";
    RequestUnknown = 510, Error, "RequestUnknown", "the orchestrator knows no such job request",
        "It has ended, waits in a pool that is not served, or has not been polled yet.";
    Delayed = 511, Warning, "Delayed", "calls take so long that job requests wait for them",
        "A call to Azure DevOps, or to the place where agents run, is in flight for much longer than usual. Agents are started all \
         the same, slower. The message says which call; the metric kubectl_ado_call_duration_seconds says how long each kind takes.";
}

impl Code {
    /// The number after `ADO`.
    #[must_use]
    pub fn number(self) -> u16 {
        self.entry().0
    }

    /// How much it usually matters.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.entry().1
    }

    /// One CamelCase word, for Events and conditions.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.entry().2
    }

    /// What it is, in a few words without a capital letter.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.entry().3
    }

    /// What it means, why it happens and what to do, in a few sentences.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.entry().4
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("ADO{}", self.number()))
    }
}

/// There is no such code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no code {0}")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let found = Self::ALL.iter().find(|code| code.to_string().eq_ignore_ascii_case(text));
        found.copied().ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_has_a_number_and_a_reason_of_its_own_and_reads_back() {
        let numbers: Vec<u16> = Code::ALL.iter().map(|code| code.number()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        let reasons: BTreeSet<_> = Code::ALL.iter().map(|code| code.reason()).collect();
        assert_eq!(reasons.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(*code));
            assert!(code.about().len() > 20 && !code.about().contains("  "), "{code}: {}", code.about());
        }
        assert!("ADO999".parse::<Code>().is_err());
    }
}
