//! Watches: what they tell of the past, of what begins and ceases to be selected, and how they end.
//!
//! One thing is not asked: a version that is too old. A real API server that has just come up remembers everything.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Asked, Question, normal::content, questions::job};

const CONFIG_MAPS: &str = "/api/v1/namespaces/NAMESPACE/configmaps";
const JOBS: &str = "/apis/batch/v1/namespaces/NAMESPACE/jobs";

/// Longer than it takes the events to come.
const LISTENS: Duration = Duration::from_millis(700);

pub(super) async fn ask_all(asked: &mut Asked) {
    let list =
        asked.ask("the version to watch from", Question::get(&format!("{CONFIG_MAPS}?labelSelector=which"))).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let body =
        |name: &str, which: &str| json!({"metadata": {"name": name, "labels": {"which": which}}, "data": {"n": "1"}});
    for (name, which) in [("in", "watched"), ("out", "other")] {
        asked.ask("create", Question::post(CONFIG_MAPS, body(name, which))).await;
    }
    let label = |which: &str| json!({"metadata": {"labels": {"which": which}}});
    let data = json!({"data": {"n": "2"}});
    asked.ask("change", Question::merge(&format!("{CONFIG_MAPS}/in"), data.clone())).await;
    asked.ask("change the other", Question::merge(&format!("{CONFIG_MAPS}/out"), data)).await;
    asked.ask("begin to match", Question::merge(&format!("{CONFIG_MAPS}/out"), label("watched"))).await;
    asked.ask("cease to match", Question::merge(&format!("{CONFIG_MAPS}/in"), label("other"))).await;
    asked.ask("delete", Question::delete(&format!("{CONFIG_MAPS}/out"), json!({}))).await;

    let selected = "labelSelector=which%3Dwatched";
    tell(asked, "from a version", &format!("{CONFIG_MAPS}?watch=true&{selected}&resourceVersion={version}")).await;
    let all =
        &format!("{CONFIG_MAPS}?watch=true&labelSelector=which&allowWatchBookmarks=true&resourceVersion={version}");
    tell(asked, "of all", all).await;
    tell(
        asked,
        "by name",
        &format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Din&resourceVersion={version}"),
    )
    .await;
    tell(asked, "from any version", &format!("{CONFIG_MAPS}?watch=true&labelSelector=which&resourceVersion=0")).await;
    tell(asked, "from no version", &format!("{CONFIG_MAPS}?watch=true&labelSelector=which")).await;
    tell(asked, "of nothing", &format!("{CONFIG_MAPS}?watch=true&labelSelector=none&resourceVersion={version}")).await;

    // What the Job controller makes of a Job in between is its own business: only the ends are compared.
    let list = asked.ask("Jobs", Question::get(&format!("{JOBS}?labelSelector=which"))).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    asked.ask("create a Job", Question::post(JOBS, job("watched", &json!({"which": "watched"})))).await;
    let options = json!({"propagationPolicy": "Background"});
    asked.ask("delete it", Question::delete(&format!("{JOBS}/watched"), options)).await;
    tell(asked, "of Jobs", &format!("{JOBS}?watch=true&{selected}&resourceVersion={version}")).await;
    ends(asked).await;
}

/// Listens for a while and notes what was told.
async fn tell(asked: &mut Asked, what: &str, path: &str) {
    let (code, lines) = listen(asked, path).await;
    let mut events = Vec::new();
    for line in lines {
        let kind = line["type"].as_str().unwrap().to_owned();
        let of_controller = kind == "MODIFIED" && line["object"]["kind"] == "Job";
        if kind != "BOOKMARK" && !of_controller {
            let mut object = content(&line["object"]);
            // The real one has counted the changes of its controller in.
            if line["object"]["kind"] == "Job" {
                object["metadata"]["generation"] = Value::Null;
            }
            events.push(json!([kind, object]));
        }
    }
    asked.answers.push((format!("watch {what}"), json!({"code": code, "events": events})));
}

async fn listen(asked: &Asked, path: &str) -> (u16, Vec<Value>) {
    let request = hyper::Request::get(path.replace("NAMESPACE", &asked.namespace));
    let answer = asked.client.send(request.body(kube::client::Body::empty()).unwrap()).await.unwrap();
    let code = answer.status().as_u16();
    let mut text = Vec::new();
    let frames = answer.into_body().into_data_stream().take_until(tokio::time::sleep(LISTENS));
    let mut frames = Box::pin(frames);
    while let Some(frame) = frames.try_next().await.unwrap() {
        text.extend(frame);
    }
    let text = String::from_utf8(text).unwrap().replace(&asked.namespace, "NAMESPACE");
    (code, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A watch ends by itself when its time is up.
async fn ends(asked: &mut Asked) {
    let path = format!("{CONFIG_MAPS}?watch=true&labelSelector=none&timeoutSeconds=1");
    let request = hyper::Request::get(path.replace("NAMESPACE", &asked.namespace));
    let answer = asked.client.send(request.body(kube::client::Body::empty()).unwrap()).await.unwrap();
    let ended = timeout(Duration::from_secs(10), answer.into_body().collect()).await;
    let is_well = ended.is_ok_and(|body| body.is_ok());
    asked.answers.push(("watch for a second".to_owned(), json!({"ends well": is_well})));
}
