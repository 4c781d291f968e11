//! A verdict as the status document has it: one word, its code, its evidence and the line that mends it.

use super::{Code, HostKind, LimitScope, TroubleKind, Verdict, VerdictReport, shell_operand, shell_word};

/// What to do where it is not known how to register agents, or where they get a token.
pub const REGISTRATION_FIX: &str =
    "it is tried again by itself; set registration to just-in-time or token in ado.yaml to decide it";

/// A host's own words may be long; what matters stands at their beginning.
const LONGEST_MESSAGE: usize = 600;

impl Verdict {
    /// For the status document. `pool` is the name of the pool that the job request waits in, whose agents run on such a host.
    #[must_use]
    pub fn report(&self, pool: &str, host: HostKind) -> VerdictReport {
        let code = self.code();
        let reason = code.map_or_else(|| self.word(), Code::reason);
        let run = match self {
            Self::Starting { run, .. } | Self::Trouble { run, .. } | Self::HeldByQueue { run } => Some(run.clone()),
            _ => None,
        };
        let until = match self {
            Self::TemplateFails { until, .. } | Self::BackingOff { until, .. } => Some(*until),
            Self::Paused { until, .. } => *until,
            _ => None,
        };
        VerdictReport {
            reason: reason.to_owned(),
            message: shortened(&self.to_string(), LONGEST_MESSAGE),
            code,
            fix: self.fix(pool, host),
            run,
            until,
        }
    }

    /// The code of what stands in the way; `None` while all goes well.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        Some(match self {
            Self::Assigned { .. } | Self::Covered | Self::Starting { .. } | Self::HeldByQueue { .. } => return None,
            Self::Pinned => Code::Pinned,
            Self::NoTemplate { .. } => Code::UnsatisfiedDemand,
            Self::AtMaximum { .. } => Code::AtMaximum,
            Self::Paused { .. } => Code::Paused,
            Self::Retiring => Code::Retiring,
            Self::PoolRemoved => Code::PoolRemoved,
            Self::RegistrationPending { .. } => Code::RegistrationPending,
            Self::ParallelJobs { .. } => Code::ParallelJobsUsedUp,
            Self::Trouble { trouble, .. } => trouble.kind.code(),
            Self::TryingOut { .. } => Code::TryingOut,
            Self::TemplateFails { .. } | Self::BackingOff { .. } => Code::AgentsFail,
        })
    }

    /// One CamelCase word for those that have no code.
    fn word(&self) -> &'static str {
        match self {
            Self::Assigned { .. } => "Assigned",
            Self::Starting { .. } => "Starting",
            Self::HeldByQueue { .. } => "HeldByQueue",
            _ => "Covered",
        }
    }

    /// The same cause gives the same text, whatever run, moment or attempt it shows in.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Trouble { run, trouble } => {
                format!("{}: {}", trouble.kind, shortened(&of_any_run(&trouble.message, run), LONGEST_MESSAGE))
            }
            Self::TemplateFails { template, reason, .. } => {
                format!(
                    "agents of template {template} fail one after the other ({})",
                    shortened(reason, LONGEST_MESSAGE)
                )
            }
            Self::BackingOff { reason, .. } => {
                format!("the last agent failed ({}) and the next one waits", shortened(reason, LONGEST_MESSAGE))
            }
            other => shortened(&other.to_string(), LONGEST_MESSAGE),
        }
    }

    pub(super) fn fix(&self, pool: &str, host: HostKind) -> Option<String> {
        let (name, pool) = (pool, path_segment(pool));
        let in_cluster = host == HostKind::Kubernetes;
        let line = match self {
            Self::Assigned { .. } | Self::Covered | Self::Starting { .. } | Self::TryingOut { .. } => return None,
            Self::Retiring if in_cluster => {
                "kubectl ado resume --all takes the uninstall back; kubectl ado uninstall goes on with it".to_owned()
            }
            Self::PoolRemoved => {
                "put the pool back into the configuration, or let other agents of it serve the job".to_owned()
            }
            Self::RegistrationPending { .. } => REGISTRATION_FIX.to_owned(),
            Self::Retiring => return None,
            Self::HeldByQueue { run } if in_cluster => {
                format!("look at why it waits: kubectl get workloads,jobs | grep {run}")
            }
            Self::HeldByQueue { .. } => return None,
            Self::Pinned => "bring the agent that the job names online, or take the demand for Agent.Name out of the \
                             pipeline"
                .to_owned(),
            Self::NoTemplate { demand } => format!(
                "add \"{}\" to the capabilities (or the ignoreDemands) of an agent template of the pool in ado.yaml, \
                 or correct the demand in the pipeline",
                shortened(demand, 200)
            ),
            Self::AtMaximum { scope, limit, template } => {
                let path = match scope {
                    LimitScope::Template => format!("pools.{pool}.templates.{}.maxAgents", path_segment(template)),
                    LimitScope::Pool => format!("pools.{pool}.limits.maxAgents"),
                    LimitScope::Installation => "limits.maxAgents".to_owned(),
                };
                let more = limit.saturating_mul(2).max(1);
                match (in_cluster, scope) {
                    (true, _) => format!("kubectl ado config set {}", shell_word(&format!("{path}={more}"))),
                    (false, LimitScope::Pool) => format!("set {path} in ado.yaml, or MAXIMUM_AGENT_COUNT, to {more}"),
                    (false, _) => format!("set {path} in ado.yaml to {more}"),
                }
            }
            Self::Paused { .. } => format!("kubectl ado resume {}", shell_operand(name)),
            Self::ParallelJobs { .. } => {
                let ignore = match in_cluster {
                    true => "kubectl ado config set limits.respectParallelJobs=false",
                    false => "set limits.respectParallelJobs to false in ado.yaml",
                };
                format!("buy parallel jobs (Organization settings > Parallel jobs), or {ignore}")
            }
            Self::Trouble { trouble, .. } => trouble.kind.fix(host).to_owned(),
            Self::TemplateFails { .. } | Self::BackingOff { .. } if !in_cluster => {
                host.last_words().unwrap_or_default().to_owned()
            }
            Self::TemplateFails { .. } | Self::BackingOff { .. } => {
                format!("kubectl ado logs --pool={}", shell_word(name))
            }
        };
        Some(line)
    }
}

impl TroubleKind {
    /// The code of the finding.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Image => Code::ImageNotPulled,
            Self::Unschedulable => Code::Unschedulable,
            Self::Quota => Code::QuotaUsedUp,
            Self::Refused => Code::PodRefused,
            Self::Volume => Code::VolumeMissing,
        }
    }

    /// The line that mends it.
    #[must_use]
    pub fn fix(self, host: HostKind) -> &'static str {
        if host == HostKind::ContainerInstances {
            return self.fix_of_groups();
        }
        match self {
            Self::Image => {
                "correct the image in ado.yaml or the Job template, or give the template imagePullSecrets for its registry"
            }
            Self::Unschedulable => {
                "add nodes, or lower the requests and correct nodeSelector, affinity and tolerations of the Job template"
            }
            Self::Quota => "raise the ResourceQuota of the namespace, or lower limits.maxAgents to what fits in it",
            Self::Refused => "change the Job template so that the rule allows it, or the rule: the message names it",
            Self::Volume => "create the claim, ConfigMap or Secret that the Job template mounts, or correct its name",
        }
    }

    fn fix_of_groups(self) -> &'static str {
        match self {
            Self::Image => "correct the image, and AZ_REGISTRY with AZ_IDENTITY (role AcrPull) or a password",
            Self::Unschedulable => "ask for less (AZ_CPU, AZ_MEMORY_GB), or go to another region (AZ_REGION)",
            Self::Quota => {
                "raise the region's quota, or lower limits.maxAgents (or MAXIMUM_AGENT_COUNT, which is per pool) to what fits in it"
            }
            Self::Refused => "change the container group's template, or the policy that refuses it",
            Self::Volume => "correct the share, the account or its key in the container group's template",
        }
    }
}

/// At most so many characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A name as `config set` takes it in a path.
fn path_segment(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// A message about one run as it would read for any other. In quotes the name of a run begins that of its pod, which the kubelet
/// follows up with the namespace and a uid.
fn of_any_run(message: &str, run: &str) -> String {
    let quoted = format!("\"{run}");
    let mut words = message.split(&quoted);
    let mut text = words.next().unwrap_or_default().to_owned();
    for rest in words {
        text.push_str("the agent");
        text.push_str(rest.split_once('"').map_or(rest, |(_, rest)| rest));
    }
    text.replace(run, "the agent")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Trouble;

    fn all() -> Vec<Verdict> {
        let until = "2026-01-01T12:00:00Z".parse().unwrap();
        let trouble = |kind| Verdict::Trouble { run: "r".into(), trouble: Trouble { kind, message: "m".into() } };
        let kinds = [
            TroubleKind::Image,
            TroubleKind::Unschedulable,
            TroubleKind::Quota,
            TroubleKind::Refused,
            TroubleKind::Volume,
        ];
        let at = |scope| Verdict::AtMaximum { scope, limit: 4, template: "gpu big".into() };
        let mut all = vec![
            Verdict::Assigned { agent: "a".into() },
            Verdict::Covered,
            Verdict::Starting { run: "r".into(), template: "t".into() },
            Verdict::Pinned,
            Verdict::NoTemplate { demand: "cuda".into() },
            at(LimitScope::Template),
            at(LimitScope::Pool),
            at(LimitScope::Installation),
            Verdict::Paused { reason: Some("release".into()), until: Some(until) },
            Verdict::Retiring,
            Verdict::PoolRemoved,
            Verdict::RegistrationPending { template: "t".into(), reason: "no answer".into() },
            Verdict::ParallelJobs { tag: "Private".into(), total: 1 },
            Verdict::TryingOut { limit: 4, template: "t".into() },
            Verdict::TemplateFails { template: "t".into(), until, failures: 3, reason: "exit code 1".into() },
            Verdict::BackingOff { until, attempt: 2, reason: "exit code 1".into() },
        ];
        all.extend(kinds.map(trouble));
        all
    }

    #[test]
    fn each_verdict_says_its_word_and_what_stands_in_the_way_has_a_fix() {
        for verdict in all() {
            let report = verdict.report("Linux", HostKind::Kubernetes);
            assert!(!report.reason.contains(' ') && report.reason.starts_with(char::is_uppercase), "{report:?}");
            assert!(!report.message.is_empty() && !report.message.contains("  "), "{report:?}");
            let may_lack_a_fix = matches!(verdict, Verdict::TryingOut { .. });
            assert_eq!(report.fix.is_some(), report.code.is_some() && !may_lack_a_fix, "{report:?}");
            assert!(!report.fix.as_deref().unwrap_or_default().contains("  "), "{report:?}");
        }
    }

    #[test]
    fn the_same_trouble_of_two_pods_has_one_cause() {
        let cause = |run: &str, pod: &str, uid: &str| {
            let message = format!(
                "CreateContainerConfigError: image will run as root (pod: \"{run}-{pod}_ado({uid})\", container: agent); see {run}"
            );
            Verdict::Trouble { run: run.into(), trouble: Trouble { kind: TroubleKind::Refused, message } }.cause()
        };
        let one = cause("agent-job-tie7a-42jph", "r4jhf", "ca1626ad-f438");
        assert_eq!(one, cause("agent-job-tie7a-ykx33", "fqglx", "2cbde581-9314"));
        assert!(one.ends_with("(pod: the agent, container: agent); see the agent"), "{one}");
    }

    #[test]
    fn the_fix_of_a_limit_can_be_pasted_into_a_shell() {
        let at = |scope| Verdict::AtMaximum { scope, limit: 4, template: "gpu big".into() };
        let fix = |scope, pool| at(scope).report(pool, HostKind::Kubernetes).fix.unwrap();
        assert_eq!(fix(LimitScope::Installation, "Linux"), "kubectl ado config set limits.maxAgents=8");
        assert_eq!(fix(LimitScope::Pool, "Linux"), "kubectl ado config set pools.Linux.limits.maxAgents=8");
        let quoted = r#"kubectl ado config set 'pools."My Pool".templates."gpu big".maxAgents=8'"#;
        assert_eq!(fix(LimitScope::Template, "My Pool"), quoted);
        let paused = Verdict::Paused { reason: None, until: None };
        assert_eq!(paused.report("My Pool", HostKind::Kubernetes).fix.unwrap(), "kubectl ado resume 'My Pool'");
    }

    #[test]
    fn a_cause_does_not_depend_on_the_run_that_shows_it() {
        let trouble = |run: &str| Verdict::Trouble {
            run: run.into(),
            trouble: Trouble { kind: TroubleKind::Image, message: format!("pod {run}-x cannot pull") },
        };
        assert_eq!(trouble("one").cause(), trouble("two").cause());
        let long = Verdict::NoTemplate { demand: "x".repeat(5000) };
        assert!(long.report("A", HostKind::Kubernetes).message.chars().count() < 700);
    }

    #[test]
    fn who_has_no_cluster_is_sent_to_no_verb_for_clusters() {
        let fix = |verdict: Verdict| verdict.report("My Pool", HostKind::ContainerInstances).fix.unwrap();
        let at = |scope| fix(Verdict::AtMaximum { scope, limit: 4, template: "default".into() });
        assert_eq!(
            at(LimitScope::Pool),
            "set pools.\"My Pool\".limits.maxAgents in ado.yaml, or MAXIMUM_AGENT_COUNT, to 8"
        );
        assert_eq!(at(LimitScope::Installation), "set limits.maxAgents in ado.yaml to 8");
        let jobs = fix(Verdict::ParallelJobs { tag: "Private".into(), total: 1 });
        assert!(jobs.ends_with("set limits.respectParallelJobs to false in ado.yaml"), "{jobs}");
        let until = jiff::Timestamp::UNIX_EPOCH;
        let failed = fix(Verdict::BackingOff { until, attempt: 2, reason: "x".into() });
        assert_eq!(failed, "the agent's last words are in the orchestrator's log");
        for kind in TroubleKind::ALL {
            assert!(!kind.fix(HostKind::ContainerInstances).contains("Job template"), "{kind}");
        }
    }
}
