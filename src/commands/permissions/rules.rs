//! The one table of what each command needs in the cluster. All of it lies in the namespaces of the install and of its
//! agents; nothing needs a ClusterRole.

use serde::Serialize;

/// Verbs on resources of one API group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub(super) api_groups: &'static [&'static str],
    pub(super) resources: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) resource_names: &'static [&'static str],
    pub(super) verbs: &'static [&'static str],
}

/// A command, its rules, and what it can do without some of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// As it is typed: `config set`.
    pub(super) command: &'static str,
    pub(super) rules: &'static [Rule],
    /// What more rights would add.
    pub(super) note: &'static str,
}

const fn rule(
    group: &'static [&'static str],
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Rule {
    Rule { api_groups: group, resources, resource_names: &[], verbs }
}

const CORE: &[&str] = &[""];
const LIST: &[&str] = &["list"];
const LOOK: &[&str] = &["get", "list"];
const RBAC: &[&str] = &["rbac.authorization.k8s.io"];

const INSTALLS: Rule = rule(&["apps"], &["deployments"], LOOK);
const STATUS: Rule = rule(CORE, &["configmaps"], LOOK);
const LEASES: Rule = rule(&["coordination.k8s.io"], &["leases"], LIST);
const JOBS: Rule = rule(&["batch"], &["jobs"], LIST);
const PODS: Rule = rule(CORE, &["pods"], LIST);
const EVENTS: Rule = rule(CORE, &["events"], LIST);
const CONTROL: Rule = rule(CORE, &["configmaps"], &["get", "list", "create", "update"]);
const NAMESPACE: Rule = rule(CORE, &["namespaces"], &["get"]);
const TOKEN: Rule =
    Rule { api_groups: CORE, resources: &["secrets"], resource_names: &["kubectl-ado-token"], verbs: &["patch"] };

const CHECK: &[Rule] = &[
    INSTALLS,
    STATUS,
    rule(&["coordination.k8s.io"], &["leases"], &["get"]),
    rule(CORE, &["pods", "resourcequotas", "limitranges"], LOOK),
    NAMESPACE,
    Rule {
        api_groups: CORE,
        resources: &["serviceaccounts"],
        resource_names: &["kubectl-ado"],
        verbs: &["impersonate"],
    },
];
/// The Deployment, the status and its Lease; pods where the orchestrator is not ready, Jobs where the status is old.
const OBSERVE: &[Rule] = &[INSTALLS, rule(CORE, &["configmaps"], LIST), LEASES, JOBS, PODS];
const OBSERVE_JOBS: &[Rule] = &[INSTALLS, rule(CORE, &["configmaps"], LIST), LEASES, JOBS, PODS, EVENTS];
const ASK: &[Rule] = &[INSTALLS, CONTROL, LEASES, JOBS, PODS];

/// What `serve` may do has to be held by whoever gives it away: `manifests/role.yaml`.
const INSTALL: &[Rule] = &[
    rule(&["apps"], &["deployments"], &["get", "list", "create", "patch", "delete"]),
    rule(&["apps"], &["replicasets"], LIST),
    rule(CORE, &["configmaps"], &["get", "list", "create", "update", "patch", "delete"]),
    rule(CORE, &["serviceaccounts"], &["get", "list", "create", "patch", "delete"]),
    rule(CORE, &["secrets"], &["get", "list", "create", "patch", "delete"]),
    rule(RBAC, &["roles", "rolebindings"], &["get", "list", "create", "patch", "delete"]),
    rule(&["policy"], &["poddisruptionbudgets"], &["get", "list", "create", "patch", "delete"]),
    rule(&["networking.k8s.io"], &["networkpolicies"], &["get", "list", "create", "patch", "delete"]),
    rule(&["batch"], &["jobs"], &["get", "list", "watch", "create", "patch", "delete"]),
    rule(CORE, &["pods"], &["list", "watch", "patch"]),
    rule(CORE, &["events"], &["list", "create"]),
    rule(&["coordination.k8s.io"], &["leases"], &["get", "list", "create", "update", "delete"]),
    NAMESPACE,
];

/// All commands that talk to a cluster.
pub(super) const TABLE: &[Needs] = &[
    Needs {
        command: "check",
        rules: CHECK,
        note: "without impersonate, the dry runs are made as you; create on pods and jobs makes them possible",
    },
    Needs {
        command: "install",
        rules: INSTALL,
        note: "creating the namespace itself takes `create` on namespaces, cluster-wide; whoever is admin of the namespace has all the rest",
    },
    Needs { command: "upgrade", rules: INSTALL, note: "as install" },
    Needs {
        command: "uninstall",
        rules: INSTALL,
        note: "as install; --delete-namespace takes `delete` on namespaces, cluster-wide",
    },
    Needs { command: "config view", rules: &[INSTALLS, rule(CORE, &["configmaps"], &["get"])], note: "" },
    Needs { command: "config set", rules: &[INSTALLS, rule(CORE, &["configmaps"], &["get", "patch"])], note: "" },
    Needs {
        command: "auth set",
        rules: &[INSTALLS, rule(CORE, &["configmaps"], &["get"]), TOKEN],
        note: "where the Secret does not exist yet, also `create` on secrets; it is never read",
    },
    Needs { command: "auth test", rules: &[INSTALLS, STATUS], note: "" },
    Needs { command: "status", rules: OBSERVE, note: "" },
    Needs { command: "pools", rules: OBSERVE, note: "" },
    Needs { command: "agents", rules: OBSERVE, note: "" },
    Needs { command: "jobs", rules: OBSERVE_JOBS, note: "" },
    Needs { command: "queue", rules: OBSERVE, note: "" },
    Needs { command: "explain", rules: OBSERVE_JOBS, note: "" },
    Needs {
        command: "logs",
        rules: &[INSTALLS, rule(CORE, &["configmaps"], LIST), PODS, rule(CORE, &["pods/log"], &["get"])],
        note: "",
    },
    Needs { command: "pause", rules: ASK, note: "" },
    Needs { command: "resume", rules: ASK, note: "" },
    Needs { command: "template render", rules: &[INSTALLS, STATUS, NAMESPACE], note: "with -f it asks no cluster" },
    Needs {
        command: "template validate",
        rules: &[
            INSTALLS,
            Rule {
                api_groups: CORE,
                resources: &["serviceaccounts"],
                resource_names: &["kubectl-ado"],
                verbs: &["impersonate"],
            },
        ],
        note: "only with --server; without impersonate, `create` on jobs makes the dry run as you",
    },
    Needs { command: "version", rules: &[INSTALLS, STATUS], note: "" },
];

/// The needs of a command, as it is typed.
pub(super) fn needs(command: &str) -> Option<&'static Needs> {
    TABLE.iter().find(|needs| needs.command == command)
}
