//! What an agent with a key of its own does, by hand: registering it, assertions, tokens, sessions.

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{rand::SystemRandom, rsa::KeyPairComponents, rsa::PublicKeyComponents, signature};
use rsa::BoxedUint;

use super::*;

const FULL: &str = include_str!("../../agent/keys/full.json");
const SHORT: &str = include_str!("../../agent/keys/short_d.json");

/// A key pair, read by the libraries themselves from a file as agents have it.
pub(super) struct Key {
    pub(super) public: Value,
    pub(super) private: rsa::PrivateKey,
    pair: signature::RsaKeyPair,
}

impl Key {
    pub(super) fn first() -> Self {
        Self::read(FULL)
    }

    pub(super) fn second() -> Self {
        Self::read(SHORT)
    }

    fn read(file: &str) -> Self {
        let file: Value = serde_json::from_str(file).unwrap();
        let number = |name: &str| {
            let bytes = BASE64_STANDARD.decode(file[name].as_str().unwrap()).unwrap();
            bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>()
        };
        let [n, e, d, p, q] = ["modulus", "exponent", "d", "p", "q"].map(number);
        let large = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
        let primes = vec![large(&p), large(&q)];
        let private = rsa::PrivateKey::from_components(large(&n), large(&e), large(&d), primes).unwrap();
        let [dp, dq, inverse] = ["dp", "dq", "inverseQ"].map(number);
        let public_key = PublicKeyComponents { n, e };
        let components = KeyPairComponents { public_key, d, p, q, dP: dp, dQ: dq, qInv: inverse };
        let pair = signature::RsaKeyPair::from_components(&components).unwrap();
        Self { public: json!({ "exponent": file["exponent"], "modulus": file["modulus"] }), private, pair }
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let random = SystemRandom::new();
        self.pair.sign(&signature::RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An agent that was registered with a key.
pub(super) struct Registered {
    pub(super) pool: i64,
    pub(super) id: i64,
    pub(super) client_id: String,
    pub(super) url: String,
}

pub(super) async fn register(sandbox: &Sandbox, pool: i64, name: &str, key: &Key) -> Registered {
    let body = json!({ "name": name, "version": "1", "authorization": { "publicKey": key.public } });
    let path = format!("distributedtask/pools/{pool}/agents");
    let made: Value = call(sandbox, Method::POST, &path, Some(body)).await.json().await.unwrap();
    assert_eq!(made["authorization"]["publicKey"], key.public);
    of(pool, &made)
}

pub(super) fn of(pool: i64, made: &Value) -> Registered {
    let text = |name: &str| made["authorization"][name].as_str().unwrap().to_owned();
    Registered { pool, id: made["id"].as_i64().unwrap(), client_id: text("clientId"), url: text("authorizationUrl") }
}

/// What an assertion says that is as it should be.
pub(super) fn claims(agent: &Registered) -> Value {
    let now = Timestamp::now().as_second();
    json!({
        "iss": agent.client_id, "sub": agent.client_id, "aud": agent.url,
        "jti": fastrand::u64(..).to_string(), "nbf": now, "exp": now + 300,
    })
}

pub(super) fn assertion(agent: &Registered, key: &Key) -> String {
    key.sign(&json!({ "alg": "RS256", "typ": "JWT" }), &claims(agent))
}

/// The form that exchanges an assertion.
pub(super) fn form(assertion: &str) -> Vec<(&'static str, String)> {
    vec![
        ("grant_type", "client_credentials".to_owned()),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()),
        ("client_assertion", assertion.to_owned()),
    ]
}

pub(super) async fn post(url: &str, form: &[(&'static str, String)]) -> (u16, Value) {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    let request = client().post(url).header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    let response = request.body(body.finish()).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

pub(super) async fn sign_in(agent: &Registered, key: &Key) -> String {
    let (status, reply) = post(&agent.url, &form(&assertion(agent, key))).await;
    assert_eq!((status, &reply["token_type"]), (200, &json!("bearer")), "{reply}");
    reply["access_token"].as_str().unwrap().to_owned()
}

/// A call with an agent's token: the status, and the JSON if there is any.
pub(super) async fn by(
    sandbox: &Sandbox,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let url = format!("{}/_apis/{path}", sandbox.url());
    let request = client().request(method, url).bearer_auth(token).header("X-TFS-FedAuthRedirect", "Suppress");
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let response = request.timeout(Duration::from_secs(20)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

pub(super) async fn open(sandbox: &Sandbox, agent: &Registered, token: &str) -> (u16, Value) {
    let body = json!({ "ownerName": "here", "agent": { "id": agent.id } });
    by(sandbox, token, Method::POST, &format!("distributedtask/pools/{}/sessions", agent.pool), Some(body)).await
}
