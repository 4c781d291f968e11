//! Calls that are answered at once: all that this project and the players in its tests send, and the ways they go wrong.

use serde_json::{Value, json};

use super::{Asked, Question};

const CONFIG_MAPS: &str = "/api/v1/namespaces/NAMESPACE/configmaps";
const SECRETS: &str = "/api/v1/namespaces/NAMESPACE/secrets";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/NAMESPACE/leases";
const JOBS: &str = "/apis/batch/v1/namespaces/NAMESPACE/jobs";

fn config_map(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"key": "value"}})
}

/// A Job that its controller leaves alone: it is suspended.
pub(super) fn job(name: &str, labels: &Value) -> Value {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "agent", "image": "registry.example/agent:1"}]});
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels},
        "spec": {"suspend": true, "backoffLimit": 0, "ttlSecondsAfterFinished": 600, "template": {"spec": pod}},
    })
}

pub(super) async fn ask_all(asked: &mut Asked) {
    objects(asked).await;
    lists(asked).await;
    secrets_and_leases(asked).await;
    jobs(asked).await;
    namespaces(asked).await;
}

async fn objects(asked: &mut Asked) {
    let one = &format!("{CONFIG_MAPS}/one");
    let missing = &format!("{CONFIG_MAPS}/missing");
    let body = || config_map("one", &json!({"a": "1"}));
    asked.ask("create", Question::post(CONFIG_MAPS, body())).await;
    asked.ask("create what is there", Question::post(CONFIG_MAPS, body())).await;
    let made = asked.ask("get", Question::get(one)).await;
    asked.ask("get its metadata", Question::get(one).metadata_only()).await;
    asked.ask("get what is not there", Question::get(missing)).await;
    asked.ask("create without a name", Question::post(CONFIG_MAPS, json!({"metadata": {}}))).await;
    asked.ask("create with a bad name", Question::post(CONFIG_MAPS, config_map("Not_Good", &json!({})))).await;
    let elsewhere = "/api/v1/namespaces/not-there/configmaps";
    asked.ask("create where no namespace is", Question::post(elsewhere, body())).await;
    let mut other_namespace = config_map("two", &json!({}));
    other_namespace["metadata"]["namespace"] = json!("another");
    asked.ask("create for another namespace", Question::post(CONFIG_MAPS, other_namespace)).await;
    let mut versioned = config_map("two", &json!({}));
    versioned["metadata"]["resourceVersion"] = json!("5");
    asked.ask("create with a version", Question::post(CONFIG_MAPS, versioned)).await;

    let mut newer = made.clone();
    newer["data"]["key"] = json!("newer");
    asked.ask("update", Question::put(one, newer.clone())).await;
    asked.ask("update an old version", Question::put(one, newer)).await;
    asked.ask("update regardless of the version", Question::put(one, body())).await;
    asked.ask("update what is not there", Question::put(missing, config_map("missing", &json!({})))).await;
    let mut stranger = body();
    stranger["metadata"]["uid"] = json!("wrong");
    asked.ask("update another uid", Question::put(one, stranger)).await;

    let labels = json!({"metadata": {"labels": {"a": null, "b": "2"}}});
    let patched = asked.ask("patch", Question::merge(one, labels.clone())).await;
    let again = asked.ask("patch without a change", Question::merge(one, labels)).await;
    assert_eq!(patched["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"], "no change, no version");
    asked.ask("patch another uid", Question::merge(one, json!({"metadata": {"uid": "wrong"}}))).await;
    let version = json!({"metadata": {"resourceVersion": "1", "labels": {"c": "3"}}});
    asked.ask("patch an old version", Question::merge(one, version)).await;
    asked.ask("patch what is not there", Question::merge(missing, json!({"data": {"x": "y"}}))).await;
    asked.ask("make it immutable", Question::merge(one, json!({"immutable": true}))).await;
    asked.ask("change what is immutable", Question::merge(one, json!({"data": {"key": "other"}}))).await;

    let uid = |uid: &Value| json!({"preconditions": {"uid": uid}});
    asked.ask("delete another uid", Question::delete(one, uid(&json!("wrong")))).await;
    let version = json!({"preconditions": {"uid": made["metadata"]["uid"], "resourceVersion": "1"}});
    asked.ask("delete an old version", Question::delete(one, version)).await;
    asked.ask("delete", Question::delete(one, uid(&made["metadata"]["uid"]))).await;
    asked.ask("delete again", Question::delete(one, json!({}))).await;
    asked.ask("an unknown path", Question::get("/apis/batch/v1/namespaces/NAMESPACE/nothings")).await;
}

async fn lists(asked: &mut Asked) {
    for (number, label) in ["x", "y", "x", "x", "y", "x"].into_iter().enumerate() {
        let body = config_map(&format!("listed-{number}"), &json!({"which": label, "of": "list"}));
        asked.ask("create one to list", Question::post(CONFIG_MAPS, body)).await;
    }
    for selector in ["which%3Dx", "which+in+%28y%29", "of%2Cwhich%21%3Dx", "which%3Dz", "of%3Dlist%2C%21absent"] {
        let path = format!("{CONFIG_MAPS}?labelSelector={selector}");
        asked.ask(&format!("list {selector}"), Question::get(&path)).await;
    }
    let path = &format!("{CONFIG_MAPS}?labelSelector=which%3Dx");
    asked.ask("list the metadata as if it were one object", Question::get(path).metadata_only()).await;
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    asked.ask("list the metadata", Question { accept, ..Question::get(path) }).await;
    let path = &format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dlisted-3");
    asked.ask("list by name", Question::get(path)).await;

    let mut next = String::new();
    for page in 1..=3 {
        let path = format!("{CONFIG_MAPS}?labelSelector=of%3Dlist&limit=2{next}");
        let answer = asked.ask(&format!("page {page}"), Question::get(&path)).await;
        if page == 1 {
            // The pages are of one moment: what is new since then is on none of them.
            let late = config_map("listed-25", &json!({"of": "list"}));
            asked.ask("create one between the pages", Question::post(CONFIG_MAPS, late)).await;
        }
        next = answer["metadata"]["continue"].as_str().map(|token| format!("&continue={token}")).unwrap_or_default();
    }
    let path = &format!("{CONFIG_MAPS}?limit=2&continue=nonsense");
    asked.ask("a page of nothing", Question::get(path)).await;
    for number in ["0", "1", "2", "25", "3", "4", "5"] {
        asked.ask("delete a listed one", Question::delete(&format!("{CONFIG_MAPS}/listed-{number}"), json!({}))).await;
    }
}

async fn secrets_and_leases(asked: &mut Asked) {
    let secret = || {
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true, "metadata": {"name": "token"},
            "data": {"token": "dG9rZW4="}})
    };
    asked.ask("create a Secret", Question::post(SECRETS, secret()).metadata_only()).await;
    asked.ask("create it again", Question::post(SECRETS, secret()).metadata_only()).await;
    let path = &format!("{SECRETS}/token");
    asked.ask("change it", Question::merge(path, json!({"data": {"token": "bmV3"}}))).await;
    let dry = json!({"dryRun": ["All"]});
    asked.ask("try to delete it", Question::delete(path, dry.clone()).metadata_only()).await;
    asked.ask("it is there still", Question::post(SECRETS, secret()).metadata_only()).await;
    asked.ask("delete it", Question::delete(path, json!({}))).await;
    asked.ask("try to delete what is gone", Question::delete(path, dry).metadata_only()).await;

    let path = &format!("{LEASES}/leader");
    let lease = |holder: &str| {
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 15});
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}, "spec": spec})
    };
    asked.ask("get no Lease", Question::get(path)).await;
    let made = asked.ask("create a Lease", Question::post(LEASES, lease("me"))).await;
    asked.ask("create a second one", Question::post(LEASES, lease("you"))).await;
    let mut taken = made.clone();
    taken["spec"]["holderIdentity"] = json!("you");
    asked.ask("take it over", Question::put(path, taken.clone())).await;
    asked.ask("take it over too late", Question::put(path, taken)).await;
    asked.ask("take it over by force", Question::put(path, lease("her"))).await;
    asked.ask("delete it", Question::delete(path, json!({}))).await;
    asked.ask("update a Lease that is not there", Question::put(path, lease("me"))).await;
}

async fn jobs(asked: &mut Asked) {
    let path = &format!("{JOBS}/agent-1");
    let labels = json!({"app.kubernetes.io/managed-by": "kubectl-ado", "kubectl-ado/installation": "us"});
    let made = asked.ask("create a Job", Question::post(JOBS, job("agent-1", &labels))).await;
    asked.ask("create it again", Question::post(JOBS, job("agent-1", &labels))).await;
    let mut restarts = job("agent-2", &labels);
    restarts["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    asked.ask("create one that restarts", Question::post(JOBS, restarts)).await;
    let ours = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dkubectl-ado%2Ckubectl-ado%2Finstallation%3Dus&limit=50";
    asked.ask("list ours", Question::get(&format!("{JOBS}?{ours}"))).await;
    asked.ask("list no pods", Question::get(&format!("/api/v1/namespaces/NAMESPACE/pods?{ours}"))).await;
    let warnings = "fieldSelector=type%3DWarning%2Creason%3DNothing";
    asked.ask("list no Events", Question::get(&format!("/api/v1/namespaces/NAMESPACE/events?{warnings}"))).await;

    let longer = |uid: &Value| json!({"metadata": {"uid": uid}, "spec": {"ttlSecondsAfterFinished": 3600}});
    let uid = &made["metadata"]["uid"];
    asked.ask("keep it longer", Question::merge(path, longer(uid)).metadata_only()).await;
    let answer = asked.ask("keep another one longer", Question::merge(path, longer(&json!("wrong")))).await;
    assert!(answer["message"].as_str().is_some_and(|why| why.contains("metadata.uid: Invalid value")), "{answer}");
    let mark = "/metadata/annotations/kubectl-ado~1held";
    let test = |value: &str| json!({"op": "test", "path": mark, "value": value});
    let (is_it, another) = (
        json!({"op": "test", "path": "/metadata/uid", "value": uid}),
        json!({"op": "test", "path": "/metadata/uid", "value": "x"}),
    );
    let rewrite = json!({"op": "replace", "path": mark, "value": "him"});
    let end =
        [json!({"op": "remove", "path": mark}), json!({"op": "replace", "path": "/spec/parallelism", "value": 1})];
    for (what, operations) in [
        ("test a mark that is not there", json!([is_it, test("me"), rewrite])),
        ("test another uid", json!([another, rewrite])),
        ("replace what is not there", json!([is_it, rewrite])),
        ("remove what is not there", json!([is_it, end[0]])),
    ] {
        asked.ask(what, Question::json_patch(path, operations).metadata_only()).await;
    }
    let held = json!({"metadata": {"annotations": {"kubectl-ado/held": "me"}}});
    asked.ask("mark it", Question::merge(path, held).metadata_only()).await;
    for (what, operations) in [
        ("claim it", json!([is_it, test("me"), rewrite])),
        ("claim it too late", json!([is_it, test("me"), rewrite])),
        ("end the claim", json!([is_it, test("him"), end[0], end[1]])),
        ("end it again", json!([is_it, test("him"), end[0], end[1]])),
    ] {
        asked.ask(what, Question::json_patch(path, operations).metadata_only()).await;
    }
    let elsewhere = &format!("{JOBS}/missing");
    asked.ask("claim what is not there", Question::json_patch(elsewhere, json!([rewrite]))).await;
    let containers = json!([{"name": "agent", "image": "registry.example/agent:2"}]);
    let other = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    asked.ask("change its template", Question::merge(path, other)).await;
    let options = |uid: &Value| json!({"preconditions": {"uid": uid}, "propagationPolicy": "Background"});
    asked.ask("delete another one", Question::delete(path, options(&json!("wrong")))).await;
    asked.ask("delete it", Question::delete(path, options(uid))).await;
    asked.ask("it is gone", Question::get(path)).await;
}

async fn namespaces(asked: &mut Asked) {
    let made = &format!("{}-made", asked.namespace);
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    asked.ask("get the namespace", Question::get("/api/v1/namespaces/NAMESPACE")).await;
    asked.ask("get no namespace", Question::get("/api/v1/namespaces/not-there")).await;
    let name = asked.namespace.clone();
    asked.ask("create it again", Question::post("/api/v1/namespaces", namespace(&name))).await;
    asked.ask("create another", Question::post("/api/v1/namespaces", namespace(made))).await;
    let (code, version) = Question::get("/version").sent_to(&asked.client, &asked.namespace).await;
    assert!(code == 200 && version["gitVersion"].as_str().is_some_and(|version| version.starts_with('v')));
}
