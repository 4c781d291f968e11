//! What makes a held Job ready: JSON patches whose tests hold or fail, the Secret that is replaced by its uid, and the label
//! of a busy pod. What the garbage collector does comes last.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Asked, Question, questions::job};

const JOBS: &str = "/apis/batch/v1/namespaces/NAMESPACE/jobs";
const PODS: &str = "/api/v1/namespaces/NAMESPACE/pods";
const SECRETS: &str = "/api/v1/namespaces/NAMESPACE/secrets";

/// The mark of a held Job, as a JSON pointer.
const HELD: &str = "/metadata/annotations/kubectl-ado~1held";

/// By then the garbage collector has had its time.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn ask_all(asked: &mut Asked) {
    claims(asked).await;
    secrets(asked).await;
    pods(asked).await;
}

fn held(name: &str) -> Value {
    let mut job = job(name, &json!({"which": "held"}));
    job["metadata"]["annotations"] = json!({"kubectl-ado/held": "a 1"});
    job
}

fn tested(uid: &Value, mark: &str, more: &[Value]) -> Value {
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": uid}),
        json!({"op": "test", "path": HELD, "value": mark}),
    ];
    operations.extend_from_slice(more);
    Value::from(operations)
}

async fn claims(asked: &mut Asked) {
    let path = &format!("{JOBS}/held");
    let made = asked.ask("create a held Job", Question::post(JOBS, held("held"))).await;
    let uid = &made["metadata"]["uid"];
    let claim = |by: &str| json!({"op": "replace", "path": HELD, "value": by});
    let patch = |operations: Value| Question::json_patch(path, operations).metadata_only();
    asked.ask("claim it", patch(tested(uid, "a 1", &[claim("b 2")]))).await;
    let refused = asked.ask("claim it from before", patch(tested(uid, "a 1", &[claim("c 3")]))).await;
    asked.answers.push(("what a failing test answers".to_owned(), json!([refused["reason"], refused["message"]])));
    asked.ask("claim another one", patch(tested(&json!("wrong"), "b 2", &[claim("c 3")]))).await;
    asked.ask("claim one that is gone", Question::json_patch(&format!("{JOBS}/gone"), json!([claim("c 3")]))).await;
    asked
        .ask(
            "replace what is not there",
            patch(json!([{"op": "replace", "path": "/metadata/annotations/x", "value": "y"}])),
        )
        .await;
    asked.ask("remove what is not there", patch(json!([{"op": "remove", "path": "/metadata/annotations/x"}]))).await;
    asked
        .ask("test what is not there", patch(json!([{"op": "test", "path": "/metadata/annotations/x", "value": "y"}])))
        .await;
    asked.ask("add", patch(json!([{"op": "add", "path": "/metadata/annotations/x", "value": "y"}]))).await;
    asked.ask("all or nothing", patch(json!([{"op": "remove", "path": "/metadata/annotations/x"}, {"op": "test", "path": HELD, "value": "c 3"}]))).await;
    asked.ask("as it was", Question::get(path).metadata_only()).await;
    asked.ask("an operation that there is not", patch(json!([{"op": "guess", "path": HELD}]))).await;
    asked.ask("remove it", patch(json!([{"op": "remove", "path": "/metadata/annotations/x"}]))).await;
    let resume =
        [json!({"op": "remove", "path": HELD}), json!({"op": "replace", "path": "/spec/suspend", "value": false})];
    asked.ask("resume it", Question::json_patch(path, tested(uid, "b 2", &resume))).await;
    asked.ask("resume it again", Question::json_patch(path, tested(uid, "b 2", &resume))).await;
    asked.ask("claim what is resumed", patch(tested(uid, "b 2", &[claim("c 3")]))).await;
}

async fn secrets(asked: &mut Asked) {
    let job = asked.ask("the Job", Question::get(&format!("{JOBS}/held"))).await;
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "held", "uid": job["metadata"]["uid"]});
    let secret = |name: &str, owner: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
            "metadata": {"name": name, "labels": {"which": "files"}, "ownerReferences": [owner]},
            "data": {".agent": "e30="},
        })
    };
    let path = &format!("{SECRETS}/held");
    asked.ask("ask for the uid of no Secret", Question::delete(path, json!({"dryRun": ["All"]})).metadata_only()).await;
    asked.ask("create its Secret", Question::post(SECRETS, secret("held", &owner)).metadata_only()).await;
    asked.ask("create it again", Question::post(SECRETS, secret("held", &owner)).metadata_only()).await;
    let told = asked.ask("ask for its uid", Question::delete(path, json!({"dryRun": ["All"]})).metadata_only()).await;
    let known = asked.ask("it is still there", Question::get(path)).await;
    assert_eq!(told["details"]["uid"], known["metadata"]["uid"], "{told}");
    let uid = |uid: &Value| json!({"preconditions": {"uid": uid}});
    asked.ask("delete another one", Question::delete(path, uid(&json!("wrong"))).metadata_only()).await;
    asked.ask("delete it", Question::delete(path, uid(&known["metadata"]["uid"])).metadata_only()).await;
    asked.ask("delete it again", Question::delete(path, uid(&known["metadata"]["uid"])).metadata_only()).await;

    asked.ask("create another one", Question::post(SECRETS, secret("held", &owner)).metadata_only()).await;
    let options = json!({"preconditions": {"uid": job["metadata"]["uid"]}, "propagationPolicy": "Background"});
    asked.ask("delete the Job", Question::delete(&format!("{JOBS}/held"), options)).await;
    // Its Job is gone when it comes.
    asked.ask("create one too late", Question::post(SECRETS, secret("late", &owner)).metadata_only()).await;
    for name in ["held", "late"] {
        let is_gone = is_gone(asked, &format!("{SECRETS}/{name}")).await;
        asked.answers.push((format!("the Secret {name} of a Job that is gone"), json!({"goes": is_gone})));
    }
}

async fn is_gone(asked: &Asked, path: &str) -> bool {
    let wait = Duration::from_millis(100);
    for _ in 0..PATIENCE.as_millis() / wait.as_millis() {
        if Question::get(path).sent_to(&asked.client, &asked.namespace).await.0 == 404 {
            return true;
        }
        sleep(wait).await;
    }
    false
}

async fn pods(asked: &mut Asked) {
    let containers = json!([{"name": "agent", "image": "registry.example/agent:1"}]);
    let pod = json!({"metadata": {"name": "busy"}, "spec": {"containers": containers}});
    let made = asked.ask("create a pod", Question::post(PODS, pod)).await;
    let path = &format!("{PODS}/busy");
    let mark = |uid: &Value| json!({"metadata": {"uid": uid, "labels": {"kubectl-ado/busy": "true"}}});
    asked.ask("mark it", Question::merge(path, mark(&made["metadata"]["uid"])).metadata_only()).await;
    asked.ask("mark it again", Question::merge(path, mark(&made["metadata"]["uid"])).metadata_only()).await;
    let refused = asked.ask("mark another one", Question::merge(path, mark(&json!("wrong"))).metadata_only()).await;
    assert!(refused["message"].as_str().is_some_and(|why| why.contains("metadata.uid: Invalid value")), "{refused}");
    let delete = Question::delete(path, json!({"gracePeriodSeconds": 0}));
    assert_eq!(delete.sent_to(&asked.client, &asked.namespace).await.0, 200);
    asked.ask("mark what is gone", Question::merge(path, mark(&made["metadata"]["uid"])).metadata_only()).await;
}
