//! The fake API server keeps its word: the same calls are sent to it and to the real one, and the answers are alike.

mod normal;
mod patches;
mod questions;
mod watches;

use control_plane::ControlPlane;
use kube::Client;
use serde_json::Value;

use crate::{cluster::Cluster, dice::Dice, garbage};
use normal::normal;

/// Who is asked, and in which namespace.
pub(crate) struct Asked {
    client: Client,
    namespace: String,
    /// Each question in a few words, and the answer to it as far as it has to be alike.
    answers: Vec<(String, Value)>,
}

impl Asked {
    /// Asks, notes what has to be alike of the answer, and gives the whole of it.
    async fn ask(&mut self, what: &str, question: Question<'_>) -> Value {
        let (code, answer) = question.sent_to(&self.client, &self.namespace).await;
        let text = answer.to_string().replace(&self.namespace, "NAMESPACE");
        self.answers.push((what.to_owned(), normal(code, &serde_json::from_str(&text).unwrap())));
        answer
    }
}

/// One call.
struct Question<'a> {
    method: &'a str,
    /// `NAMESPACE` stands for the namespace that is asked in.
    path: &'a str,
    accept: &'a str,
    /// The kind of a patch.
    kind: &'a str,
    body: Option<Value>,
}

impl<'a> Question<'a> {
    fn get(path: &'a str) -> Self {
        Self { method: "GET", path, accept: "application/json", kind: "application/json", body: None }
    }

    fn post(path: &'a str, body: Value) -> Self {
        Self { method: "POST", body: Some(body), ..Self::get(path) }
    }

    fn put(path: &'a str, body: Value) -> Self {
        Self { method: "PUT", body: Some(body), ..Self::get(path) }
    }

    fn merge(path: &'a str, body: Value) -> Self {
        Self { method: "PATCH", kind: "application/merge-patch+json", body: Some(body), ..Self::get(path) }
    }

    fn json_patch(path: &'a str, operations: Value) -> Self {
        Self { kind: "application/json-patch+json", ..Self::merge(path, operations) }
    }

    fn delete(path: &'a str, body: Value) -> Self {
        Self { method: "DELETE", body: Some(body), ..Self::get(path) }
    }

    fn metadata_only(self) -> Self {
        Self { accept: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json", ..self }
    }

    async fn sent_to(self, client: &Client, namespace: &str) -> (u16, Value) {
        let body = self.body.map(|body| body.to_string().replace("NAMESPACE", namespace)).unwrap_or_default();
        let request = hyper::Request::builder()
            .method(self.method)
            .uri(self.path.replace("NAMESPACE", namespace))
            .header("accept", self.accept)
            .header("content-type", self.kind)
            .body(kube::client::Body::from(body.into_bytes()))
            .unwrap();
        let answer = client.send(request).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        // A path that nobody knows is answered in plain text.
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_api_server_answers_like_the_real_one() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("contract").await.name().to_owned();
    let fake = Cluster::with_namespace(&namespace);
    let collector = tokio::spawn(garbage::collect(fake.clone(), Dice::of(1)));
    let fake = fake.client();
    let answers = [plane.client().await, fake].map(|client| async {
        let mut asked = Asked { client, namespace: namespace.clone(), answers: Vec::new() };
        questions::ask_all(&mut asked).await;
        patches::ask_all(&mut asked).await;
        watches::ask_all(&mut asked).await;
        asked.answers
    });
    let answers = futures::future::join_all(answers).await;
    collector.abort();
    let [real, fake] = &answers[..] else { panic!("two were asked") };
    assert_eq!(real.len(), fake.len());
    let pairs = real.iter().zip(fake);
    let different = pairs
        .filter(|(real, fake)| real != fake)
        .map(|((what, real), (_, fake))| format!("{what}\n  real: {real}\n  fake: {fake}"));
    let different: Vec<String> = different.collect();
    assert!(different.is_empty(), "{} of {} answers differ:\n{}", different.len(), real.len(), different.join("\n"));
    println!("{} answers are alike", real.len());
}
