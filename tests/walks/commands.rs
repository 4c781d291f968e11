//! A person at a place: an install in one namespace, whose agents may live in another one, behind a proxy.

use std::{collections::BTreeSet, path::PathBuf};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use kubectl_ado::core::{Installation, lease_name};
use serde_json::{Value, json};

use crate::{
    model::{Model, TEMPLATE},
    place::{Place, Said},
    proxy::Proxy,
};

pub(crate) struct Person {
    pub(crate) place: Place,
    pub(crate) proxy: Proxy,
    pub(crate) other: String,
    /// All that was said.
    pub(crate) story: String,
    /// The names that some command has named as staying.
    pub(crate) named: BTreeSet<String>,
}

impl Person {
    pub(crate) async fn new(name: &str, seed: u64) -> Self {
        let place = Place::new(name).await;
        let proxy = Proxy::start(place.client.clone(), place.folder.path(), seed).await;
        let other = place.plane.namespace(&format!("{name}-agents")).await.name().to_owned();
        std::fs::write(place.folder.path().join("job.yaml"), TEMPLATE).unwrap();
        std::fs::write(place.folder.path().join("job-template.yaml"), TEMPLATE).unwrap();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"pat": place.sandbox.token()}});
        place.plane.apply(place.name(), &secret.to_string()).unwrap();
        Self { place, proxy, other, story: String::new(), named: BTreeSet::new() }
    }

    pub(crate) fn namespaces(&self) -> Vec<String> {
        vec![self.place.name().to_owned(), self.other.clone()]
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.place.folder.path().join("pat")
    }

    /// Runs the plugin through the proxy, with so many of its calls failing.
    pub(crate) fn run(&mut self, chance: f64, arguments: &[String]) -> Said {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.proxy.fail(chance);
        // The process is waited for on a thread that has nothing else to do: the proxy goes on meanwhile.
        let said = tokio::task::block_in_place(|| self.place.ado_as(Some(self.proxy.kubeconfig()), &arguments));
        self.proxy.fail(0.0);
        self.note(&arguments.join(" "), &said);
        said
    }

    pub(crate) fn note(&mut self, command: &str, said: &Said) {
        let faults = self.proxy.struck();
        let code = said.code.map_or_else(|| "killed".to_owned(), |code| code.to_string());
        self.story += &format!("\n$ {command}\n{}{}-> {code}, faults {faults:#?}\n", said.out, said.err);
        for word in said.err.split(|c: char| c.is_whitespace() || c == '"') {
            self.named.insert(word.trim_end_matches([':', ',', '.']).to_owned());
        }
    }

    pub(crate) async fn installation(&self, model: &Model) -> Installation {
        match &model.id {
            Some(id) => Installation::new(id.clone()),
            None => {
                let namespaces: Api<Namespace> = Api::all(self.place.client.clone());
                Installation::of_namespace(&namespaces.get(&model.agents).await.unwrap().metadata.uid.unwrap())
            }
        }
    }

    pub(crate) async fn lease(&self, model: &Model) -> String {
        let pools: Vec<&str> = model.pools.iter().map(String::as_str).collect();
        lease_name(&self.installation(model).await, &model.url, &pools)
    }

    /// Leaves what an orchestrator of this install leaves: its Lease, its status, and a Secret for its agents.
    pub(crate) async fn orchestrator_ran(&self, model: &Model) {
        let (installation, lease) = (self.installation(model).await, self.lease(model).await);
        let id = installation.id();
        let part = |component: &str| {
            json!({
            "app.kubernetes.io/name": "kubectl-ado", "app.kubernetes.io/component": component,
            "app.kubernetes.io/part-of": "kubectl-ado", "kubectl-ado/installation": id})
        };
        let made = json!({"app.kubernetes.io/managed-by": "kubectl-ado", "kubectl-ado/installation": id});
        let agent = json!({"id": 1, "name": format!("placeholder-{}", installation.short()), "owner": "placeholder", "enabled": true, "online": true});
        let pools: Vec<Value> =
            model.pools.iter().map(|name| json!({"name": name, "busy": 0, "agents": [agent]})).collect();
        let report = json!({
            "apiVersion": "kubectl-ado/v1alpha1", "kind": "Status", "reportedAt": "2026-01-01T12:00:00Z", "orchestrator": {"installation": id, "lease": lease},
            "organization": {"url": model.url}, "pools": pools});
        let objects = [
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": lease, "labels": part("orchestrator")}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{lease}-status"), "labels": part("status")},
                "data": {"status.json": report.to_string()}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("kubectl-ado-token-{}", installation.short()), "labels": made}}),
        ];
        for object in objects {
            let group_version_kind = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
            let (group, version) = group_version_kind.0.split_once('/').unwrap_or(("", group_version_kind.0));
            let kind = kube::core::GroupVersionKind::gvk(group, version, group_version_kind.1);
            let resource = kube::core::ApiResource::from_gvk(&kind);
            let api: Api<kube::api::DynamicObject> =
                Api::namespaced_with(self.place.client.clone(), &model.agents, &resource);
            let name = object["metadata"]["name"].as_str().unwrap();
            api.patch(name, &PatchParams::apply("orchestrator").force(), &Patch::Apply(&object)).await.unwrap();
        }
    }
}
