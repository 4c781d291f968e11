//! What somebody can do with the files of an agent: be this one agent, until it is fenced or gone, and nothing else.

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use reqwest::{Client, Method, StatusCode};
use ring::{
    rand::SystemRandom,
    rsa::{KeyPairComponents, PublicKeyComponents},
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};

use crate::{
    FILES, node, serve,
    world::{World, eventually},
};

/// An agent's files, in wrong hands.
struct Stolen {
    settings: Value,
    credentials: Value,
    key: Value,
    http: Client,
}

impl Stolen {
    fn from(secret: &Secret) -> Self {
        let read = |name: &str| serde_json::from_slice(&secret.data.as_ref().unwrap()[name].0).unwrap();
        let http = Client::builder().no_proxy().build().unwrap();
        Self { settings: read(".agent"), credentials: read(".credentials"), key: read(".credentials_rsaparams"), http }
    }

    fn number(&self, name: &str) -> Vec<u8> {
        let bytes = BASE64_STANDARD.decode(self.key[name].as_str().unwrap()).unwrap();
        bytes.into_iter().skip_while(|byte| *byte == 0).collect()
    }

    fn assertion(&self) -> String {
        let [n, e, d, p, q, dp, dq, qinv] =
            ["modulus", "exponent", "d", "p", "q", "dp", "dq", "inverseQ"].map(|name| self.number(name));
        let public_key = PublicKeyComponents { n, e };
        let pair = KeyPairComponents { public_key, d, p, q, dP: dp, dQ: dq, qInv: qinv };
        let pair = RsaKeyPair::from_components(&pair).unwrap();
        let data = &self.credentials["data"];
        let now = Timestamp::now();
        let claims = json!({
            "iss": data["clientId"], "sub": data["clientId"], "aud": data["authorizationUrl"],
            "jti": now.to_string(), "nbf": now.as_second(), "exp": now.as_second() + 300,
        });
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(json!({ "alg": "RS256", "typ": "JWT" })), part(claims));
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token, as the agent itself gets one.
    async fn token(&self) -> Result<String, StatusCode> {
        let form = format!(
            "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type\
             %3Ajwt-bearer&client_assertion={}",
            self.assertion()
        );
        let url = self.credentials["data"]["oauthEndpointUrl"].as_str().unwrap();
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.unwrap();
        if !answer.status().is_success() {
            return Err(answer.status());
        }
        let answer: Value = answer.json().await.unwrap();
        Ok(answer["access_token"].as_str().unwrap().to_owned())
    }

    async fn call(&self, token: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}_apis/distributedtask/{path}", self.settings["serverUrl"].as_str().unwrap());
        let request = self.http.request(method, url).bearer_auth(token).header("x-tfs-fedauthredirect", "Suppress");
        let answer = request.json(&body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }
}

/// The files of the only agent, once it is at work.
async fn steal(world: &World) -> Stolen {
    let secrets = world.all::<Secret>().list(&ListParams::default().labels(FILES)).await.unwrap().items;
    let [secret] = &secrets[..] else { panic!("one agent has files: {secrets:?}") };
    Stolen::from(secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn stolen_files_register_nobody_see_no_queue_and_get_no_second_job() {
    let world = World::new("stolen").await;
    let pool = world.pool("Default");
    let _node = node(&world);
    let release = world.folder.path().join("release");
    let script = format!("while [ ! -e {} ]; do sleep 0.1; done", release.display());
    let first = world.queue_script(pool, 1, &script)[0];
    let _serve = serve(&world, "Default", "defaults: {registration: just-in-time}\nlimits: {maxAgents: 1}\n").start();
    eventually("the job is received", || world.sandbox.request(first).unwrap().received_at.is_some()).await;
    let stolen = steal(&world).await;
    let agent = stolen.settings["agentId"].as_i64().unwrap();
    let is_fenced = || world.sandbox.agents(pool).iter().any(|known| known.id == agent && !known.enabled);
    eventually("the agent is fenced", is_fenced).await;

    let token = stolen.token().await.unwrap();
    let agents = format!("pools/{pool}/agents");
    let other = json!({"name": "mine", "version": "4.0.0", "maxParallelism": 1});
    for (method, path, body) in [
        (Method::POST, agents.clone(), other.clone()),
        (Method::PUT, format!("{agents}/{agent}"), other),
        (Method::PATCH, format!("{agents}/{agent}"), json!({"id": agent, "enabled": true})),
        (Method::DELETE, format!("{agents}/{agent}"), Value::Null),
        (Method::GET, format!("pools/{pool}/jobrequests"), Value::Null),
    ] {
        let (status, said) = stolen.call(&token, method.clone(), &path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {said}");
    }
    let second = world.queue_script(pool, 1, "true")[0];
    let session = json!({"ownerName": "thief", "agent": {"id": agent, "name": stolen.settings["agentName"]}});
    let (status, said) = stolen.call(&token, Method::POST, &format!("pools/{pool}/sessions"), session.clone()).await;
    assert_eq!(status, StatusCode::CONFLICT, "the agent has its session: {said}");

    std::fs::write(&release, "").unwrap();
    eventually("the second job is served", || world.sandbox.request(second).unwrap().finished_at.is_some()).await;
    let served_by = world.sandbox.request(second).unwrap().agent.unwrap().id;
    assert_ne!(served_by, agent, "by another agent");

    let is_gone = || world.sandbox.agents(pool).iter().all(|known| known.id != agent);
    eventually("the registration is removed", is_gone).await;
    assert!(stolen.token().await.is_err(), "the key opens nothing any more");
    let (status, _) = stolen.call(&token, Method::POST, &format!("pools/{pool}/sessions"), session).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "nor does what it had opened");
}
