//! A place to install into: a bare namespace of a real API server, an organization, and the plugin as a process of a
//! person with the rights that a test gives.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use control_plane::{Behaviour, ControlPlane, Namespace, Node, pods};
use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use kubectl_ado::{
    cluster::{CONTROL_KEY, INSTALL_LABELS, STATUS_KEY, control_name, status_name},
    core::Control,
    sandbox::{AgentSpec, Sandbox, Settings},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::world::assert_holds_no_token;

/// The Lease of the orchestrator that a test plays.
pub(crate) const PLAYED: &str = "kubectl-ado-played";

pub(crate) struct Place {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: Namespace,
    pub(crate) sandbox: Sandbox,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
}

impl Place {
    /// A namespace with nothing of ours, and an organization with the pool `Linux`.
    pub(crate) async fn new(name: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings =
            Settings { agent_program: Some(PathBuf::from(env!("CARGO_BIN_EXE_kubectl-ado"))), ..Settings::default() };
        let sandbox = Sandbox::start(([127, 0, 0, 1], 0).into(), settings).unwrap();
        let pool = sandbox.add_pool("Linux").unwrap();
        sandbox.add_agent(pool, AgentSpec::named("placeholder").disabled()).unwrap();
        let plane = ControlPlane::shared();
        let namespace = plane.namespace(name).await;
        let client = plane.client().await;
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("pat"), format!("{}\n", sandbox.token())).unwrap();
        Self { plane, namespace, sandbox, client, folder }
    }

    pub(crate) fn name(&self) -> &str {
        self.namespace.name()
    }

    /// Somebody who may do this in the namespace and nothing elsewhere; `None`: nothing at all.
    pub(crate) async fn person(&self, role: Option<&str>) -> PathBuf {
        let namespace = self.name();
        self.plane.kubectl(&["create", "serviceaccount", "person", "-n", namespace]).unwrap();
        if let Some(role) = role {
            let (role, account) = (format!("--clusterrole={role}"), format!("--serviceaccount={namespace}:person"));
            self.plane.kubectl(&["create", "rolebinding", "person", "-n", namespace, &role, &account]).unwrap();
        }
        self.plane.service_account_kubeconfig(namespace, "person").await
    }

    /// The plugin, run by somebody who may do everything.
    pub(crate) fn ado(&self, arguments: &[&str]) -> Said {
        self.ado_as(Some(self.plane.kubeconfig().to_owned()), arguments)
    }

    pub(crate) fn ado_as(&self, kubeconfig: Option<PathBuf>, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
        command.args(arguments).env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("PATH", std::env::var("PATH").unwrap());
        if let Some(kubeconfig) = kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let said = Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        assert_holds_no_token(&said.out, self.sandbox.token(), "the output");
        assert_holds_no_token(&said.err, self.sandbox.token(), "the messages");
        said
    }

    /// The plugin while it runs, for what happens to it then.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
        command.args(arguments).env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("PATH", std::env::var("PATH").unwrap());
        command.env("KUBECONFIG", self.plane.kubeconfig()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// `install` into this namespace for the pool `Linux`, with what else is asked for.
    pub(crate) fn install_as(&self, kubeconfig: &std::path::Path, arguments: &[&str]) -> Said {
        let url = self.sandbox.url();
        let mut all = vec!["install", "-n", self.name(), "--org", &url, "--pool", "Linux", "--pat-file", "pat"];
        all.extend(arguments);
        self.ado_as(Some(kubeconfig.to_owned()), &all)
    }

    pub(crate) fn install(&self, arguments: &[&str]) -> Said {
        self.install_as(self.plane.kubeconfig(), arguments)
    }

    pub(crate) fn get(&self, what: &str) -> Value {
        let text = self.plane.kubectl(&["get", what, "-n", self.name(), "-o", "json"]).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// All that is in the namespace and does not come with every namespace or person, with its version.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        let kinds = "deployments,replicasets,pods,jobs,serviceaccounts,roles,rolebindings,configmaps,secrets,\
                     networkpolicies,poddisruptionbudgets,leases,persistentvolumeclaims";
        let columns = "custom-columns=K:.kind,N:.metadata.name,V:.metadata.resourceVersion";
        let text = self.plane.kubectl(&["get", kinds, "-n", self.name(), "-o", columns, "--no-headers"]).unwrap();
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.map(|row| (format!("{}/{}", row[0], row[1]), row[2].to_owned()))
            .filter(|(name, _)| {
                !["ServiceAccount/default", "ConfigMap/kube-root-ca.crt"].contains(&name.as_str())
                    && !name.ends_with("/person")
            })
            .collect()
    }

    /// Runs the orchestrator's pods as real processes, and the agents' as well, the first of which fails.
    pub(crate) fn real_node(&self) -> Node {
        let folder = self.folder.path().display();
        let script = format!(
            "#!/bin/bash\n\
             if [ \"$1\" = --config ]; then\n\
               until [ -s {folder}/account ]; do sleep 0.05; done\n\
               export KUBECONFIG={folder}/account POLLING_DELAY=100\n\
               exec {program} serve \"$@\"\n\
             fi\n\
             if mkdir {folder}/failed-once; then exit 1; fi\n\
             exec bash {root}/linux/start.sh\n",
            program = env!("CARGO_BIN_EXE_kubectl-ado"),
            root = env!("CARGO_MANIFEST_DIR"),
        );
        let path = self.folder.path().join("entry-point");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Node::start(self.plane, self.name(), Behaviour::Run { entrypoint: vec![path.display().to_string()] })
    }

    /// Gives the real orchestrator the installed account, which a kubelet would mount.
    pub(crate) async fn hand_over_account(&self) {
        let account = self.plane.service_account_kubeconfig(self.name(), "kubectl-ado").await;
        std::fs::copy(account, self.folder.path().join("copied")).unwrap();
        std::fs::rename(self.folder.path().join("copied"), self.folder.path().join("account")).unwrap();
    }

    /// Plays the kubelet: the orchestrator's pods run and are ready. Whatever is deleted goes.
    pub(crate) fn kubelet(&self) -> Kubelet {
        let node = Node::start(self.plane, self.name(), Behaviour::Idle);
        let (client, namespace) = (self.client.clone(), self.name().to_owned());
        let task = tokio::spawn(async move {
            let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            loop {
                let found = api.list(&ListParams::default().labels(INSTALL_LABELS)).await.unwrap();
                for pod in found {
                    let pending = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending");
                    if pending && pod.metadata.deletion_timestamp.is_none() {
                        let _ = pods::set_pod_running(&client, &namespace, &pod.metadata.name.unwrap()).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Kubelet { _node: node, task }
    }

    /// Plays an orchestrator that reports, polls its pool, and retires once it is asked to and nothing is at work.
    pub(crate) fn orchestrator(&self) -> Orchestrator {
        let busy = Arc::new(Mutex::new(0));
        let (client, namespace, url) = (self.client.clone(), self.name().to_owned(), self.sandbox.url());
        let seen = Arc::clone(&busy);
        let uid = self.plane.kubectl(&["get", "namespace", self.name(), "-o", "jsonpath={.metadata.uid}"]).unwrap();
        let installation = kubectl_ado::core::Installation::of_namespace(&uid);
        let task = tokio::spawn(async move {
            let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
            let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
            loop {
                let control = api.get_opt(&control_name(PLAYED)).await.unwrap().and_then(|map| map.data);
                let control = control.and_then(|data| serde_json::from_str::<Control>(&data[CONTROL_KEY]).ok());
                let busy = *seen.lock().unwrap();
                let mut retired = busy == 0 && control.is_some_and(|control| control.retire);
                if retired {
                    // Idle agents are taken back first, as the real one does.
                    let idle = ListParams::default().labels("app.kubernetes.io/managed-by=kubectl-ado");
                    retired = jobs.list(&idle).await.unwrap().items.is_empty();
                    jobs.delete_collection(&DeleteParams::background(), &idle).await.unwrap();
                }
                let report = report(&url, &namespace, installation.id(), busy, retired);
                let labels = json!({
                    "app.kubernetes.io/name": "kubectl-ado", "app.kubernetes.io/component": "status",
                    "kubectl-ado/installation": installation.id(),
                });
                let map = json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": status_name(PLAYED), "labels": labels},
                    "data": {STATUS_KEY: report.to_string()},
                });
                let by = PatchParams::apply("played").force();
                let _ = api.patch(&status_name(PLAYED), &by, &Patch::Apply(map)).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Orchestrator { busy, task }
    }
}

fn report(url: &str, namespace: &str, installation: &str, busy: u32, retired: bool) -> Value {
    let now = Timestamp::now();
    let condition = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        json!({"type": kind, "status": status, "reason": "Played", "lastTransitionTime": now})
    };
    let agent = |id: i64, name: &str, owner: &str| json!({"id": id, "name": name, "owner": owner, "enabled": true, "online": true});
    let agents = match (retired, busy) {
        (true, _) => json!([]),
        (false, 0) => json!([agent(1, "kubectl-ado-placeholder", "placeholder")]),
        (false, _) => json!([agent(1, "kubectl-ado-placeholder", "placeholder"), agent(2, "agent-job-1", "ours")]),
    };
    json!({
        "apiVersion": "kubectl-ado/v1alpha1", "kind": "Status", "reportedAt": now,
        "orchestrator": {"version": "0.1.0", "identity": "played", "startedAt": now, "installation": installation,
            "installationShort": "abcde", "host": "kubernetes", "namespace": namespace, "lease": PLAYED},
        "organization": {"url": url, "authentication": "pat"},
        "conditions": [condition("Ready", true), condition("Retired", retired)],
        "pools": [{"name": "Linux", "state": "Healthy", "lastPolledAt": now, "queued": 0, "starting": 0, "busy": busy,
            "idle": 0, "min": 0, "templates": [], "agents": agents}],
    })
}

/// What a run of the plugin said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// It ended with this code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Standard error has these parts.
    #[track_caller]
    pub(crate) fn tells(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {self:#?}");
        }
        self
    }
}

pub(crate) struct Kubelet {
    _node: Node,
    task: JoinHandle<()>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct Orchestrator {
    /// How many agents are at work.
    pub(crate) busy: Arc<Mutex<u32>>,
    task: JoinHandle<()>,
}

impl Orchestrator {
    /// Stops it; what it was about to write is written, or never will be.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Orchestrator {
    fn drop(&mut self) {
        self.task.abort();
    }
}
