//! An install as the plugin finds it, staged by hand: the Deployment with its configuration and its token, a pod that runs,
//! a Lease that is held, and a status. No orchestrator has to run for it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use control_plane::pods;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::world::{World, assert_holds_no_token, project_file};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Ended {
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.out.contains(part) || self.err.contains(part), "no {part:?} in\n{}\n{}", self.out, self.err);
        }
        self
    }
}

/// Runs the plugin with these arguments and nothing in its environment that matters.
pub(crate) fn plugin(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Ended {
    let started = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
    command.args(arguments).env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", "/nonexistent");
    command.envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without having read it all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: output.status.code().unwrap(),
        out: text(&output.stdout),
        err: text(&output.stderr),
        took: started.elapsed(),
    }
}

/// The help of a command, as a snapshot has it.
pub(crate) fn help(arguments: &[&str]) -> String {
    let ended = plugin(&[arguments, &["--help"]].concat(), &[("COLUMNS", "100")], "").with(0);
    assert_eq!(ended.err, "");
    ended.out
}

pub(crate) struct Staged {
    pub(crate) world: World,
    pub(crate) kubeconfig: PathBuf,
}

impl Staged {
    /// An install that serves these pools of the world's sandbox.
    pub(crate) async fn new(name: &str, pools: &[&str]) -> Self {
        let world = World::new(name).await;
        let kubeconfig = world.plane.kubeconfig().to_owned();
        let staged = Self { world, kubeconfig };
        for pool in pools {
            staged.world.pool(pool);
        }
        let text = format!(
            "# Ours.\norganization:\n  url: {}   # the sandbox\n  tokenFile: /run/secrets/kubectl-ado/token\nlimits: {{maxAgents: 60}}\npools:\n{}",
            staged.world.sandbox.url(),
            pools.iter().map(|pool| format!("- name: {pool}\n")).collect::<String>()
        );
        staged.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "kubectl-ado-config", "labels": {"app.kubernetes.io/part-of": "kubectl-ado"}},
            "data": {"ado.yaml": text},
        }));
        staged.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kubectl-ado-token"},
            "stringData": {"token": "the-old-token", "note": "stays"},
        }));
        staged.apply(&deployment());
        staged
    }

    pub(crate) fn namespace(&self) -> &str {
        self.world.namespace.name()
    }

    pub(crate) fn apply(&self, object: &Value) {
        self.world.plane.apply(self.namespace(), &object.to_string()).unwrap();
    }

    /// Its pod runs, the Lease is held, and the status says that all is well.
    pub(crate) async fn healthy(&self, pools: &[&str]) {
        let pod = self.pod_runs().await;
        let now = Timestamp::now();
        self.apply(&json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "kubectl-ado-lease"},
            "spec": {"holderIdentity": pod, "leaseDurationSeconds": 600, "renewTime": format!("{now:.6}")},
        }));
        self.report(&status(self.namespace(), &self.world.sandbox.url(), pools, now));
    }

    /// The Deployment's pod is played to run, and the Deployment is rolled out. The pod's name.
    pub(crate) async fn pod_runs(&self) -> String {
        let labels = ListParams::default().labels("app.kubernetes.io/component=orchestrator");
        let end = Instant::now() + crate::world::PATIENCE;
        let pod = loop {
            let found = self.world.all::<Pod>().list(&labels).await.unwrap().items.pop();
            if let Some(pod) = found {
                break pod.metadata.name.unwrap();
            }
            assert!(Instant::now() < end, "no pod of the Deployment");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        pods::set_pod_running(&self.world.client, self.namespace(), &pod).await.unwrap();
        loop {
            let deployment = self.world.all::<Deployment>().get("kubectl-ado").await.unwrap();
            if deployment.status.is_some_and(|status| status.ready_replicas == Some(1)) {
                return pod;
            }
            assert!(Instant::now() < end, "the Deployment is not rolled out");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn report(&self, report: &Value) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "kubectl-ado-lease-status", "labels": {
                "app.kubernetes.io/name": "kubectl-ado", "app.kubernetes.io/component": "status"}},
            "data": {"status.json": report.to_string()},
        }));
    }

    /// Runs the plugin as an administrator, in the install's namespace.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_as(&self.kubeconfig, arguments, "")
    }

    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        self.run_as(&self.kubeconfig, arguments, input)
    }

    pub(crate) fn run_as(&self, kubeconfig: &Path, arguments: &[&str], input: &str) -> Ended {
        let variables = [("KUBECONFIG", kubeconfig.to_str().unwrap()), ("ADO_NAMESPACE", self.namespace())];
        let ended = plugin(arguments, &variables, input);
        assert_holds_no_token(&(ended.out.clone() + &ended.err), self.world.sandbox.token(), "what a command says");
        ended
    }

    /// A user of this namespace with the Role that `permissions COMMAND` prints.
    pub(crate) async fn user_for(&self, command: &[&str]) -> PathBuf {
        let name = format!("user-{}", command.join("-"));
        let role = plugin(&[&["permissions"], command, &["-o", "yaml"]].concat(), &[], "").with(0).out;
        self.world.plane.apply(self.namespace(), &role).unwrap();
        let role_name = format!("kubectl-ado-{}", command.join("-"));
        self.user(&name).await;
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role_name},
            "subjects": [{"kind": "ServiceAccount", "name": name}],
        }));
        let kubeconfig = self.world.plane.service_account_kubeconfig(self.namespace(), &name).await;
        let may = || self.can_i(&kubeconfig, "list", "deployments.apps");
        crate::world::eventually("the Role counts", may).await;
        kubeconfig
    }

    /// Whether a user may do something in the namespace, by the API server's own answer.
    pub(crate) fn can_i(&self, kubeconfig: &Path, verb: &str, resource: &str) -> bool {
        let question = ["auth", "can-i", verb, resource, "-n", self.namespace()];
        self.world.plane.kubectl_of(kubeconfig, &question).is_ok()
    }

    /// A user who may do nothing.
    pub(crate) async fn user(&self, name: &str) -> PathBuf {
        self.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}));
        self.world.plane.service_account_kubeconfig(self.namespace(), name).await
    }

    /// The text of the stored ado.yaml.
    pub(crate) async fn stored_config(&self) -> String {
        let map = self.world.all::<ConfigMap>().get("kubectl-ado-config").await.unwrap();
        map.data.unwrap()["ado.yaml"].clone()
    }
}

/// The Deployment of `manifests/`, configured by a ConfigMap as `install` does it.
fn deployment() -> Value {
    let mut deployment: Value = serde_yaml::from_str(&project_file("manifests/deployment.yaml")).unwrap();
    let pod = deployment.pointer_mut("/spec/template/spec").unwrap();
    let kept =
        pod["containers"][0]["env"].as_array().unwrap().iter().filter(|variable| variable["name"] == "JOB_NAMESPACE");
    pod["containers"][0]["env"] = kept.cloned().collect();
    deployment
}

/// A status that says that all is well.
pub(crate) fn status(namespace: &str, url: &str, pools: &[&str], now: Timestamp) -> Value {
    let condition =
        |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "lastTransitionTime": now});
    let pool = |name: &&str| {
        json!({
            "name": name, "state": "Healthy", "lastPolledAt": now, "queued": 0, "starting": 0, "busy": 0, "idle": 0,
            "min": 0, "templates": [],
        })
    };
    json!({
        "apiVersion": "kubectl-ado/v1alpha1", "kind": "Status", "reportedAt": now,
        "orchestrator": {
            "version": env!("CARGO_PKG_VERSION"), "identity": "pod-1", "startedAt": now, "installation": "abc",
            "installationShort": "abcde", "host": "kubernetes", "namespace": namespace, "lease": "kubectl-ado-lease",
        },
        "organization": {"url": url, "authentication": "pat"},
        "conditions": [
            condition("Ready", "Ready"), condition("Connected", "Connected"), condition("Authorized", "Authorized"),
            condition("PoolsFound", "PoolsFound"), condition("ConfigValid", "ConfigValid"),
        ],
        "pools": pools.iter().map(pool).collect::<Vec<_>>(),
    })
}
