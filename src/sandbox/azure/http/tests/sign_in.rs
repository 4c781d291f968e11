//! The token endpoint: secrets, certificates, federated tokens, and what is wrong with others.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair},
};
use sha1::{Digest as _, Sha1};

use super::*;

const CERTIFICATE: &[u8] = include_bytes!("certificate.der");
const KEY: &[u8] = include_bytes!("key.der");
const SCOPE: &str = "https://management.azure.com/.default";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Posts a form with these fields besides the usual ones, which they replace.
async fn post(azure: &AzureSandbox, fields: &[(&str, &str)]) -> (u16, Value) {
    post_to(azure, &azure.settings().tenant, fields).await
}

async fn post_to(azure: &AzureSandbox, tenant: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let client_id = client_id(azure);
    let usual = [("grant_type", "client_credentials"), ("scope", SCOPE), ("client_id", &client_id)];
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(usual.iter().filter(|(name, _)| !fields.iter().any(|(other, _)| other == name)));
    let url = format!("{}/{tenant}/oauth2/v2.0/token", azure.url());
    let request = client().post(url).header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(form.extend_pairs(fields).finish()).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The status, OAuth's word, and whether Entra's number is in the description.
fn refused((status, body): &(u16, Value), number: u32) -> (u16, &str) {
    let description = body["error_description"].as_str().unwrap();
    assert!(description.starts_with(&format!("AADSTS{number}: ")), "{description}");
    assert_eq!(body["error_codes"], json!([number]));
    (*status, body["error"].as_str().unwrap())
}

#[tokio::test]
async fn a_client_secret_gives_a_token_for_its_scope() {
    let azure = start(settings());
    let (status, given) = post(&azure, &[("client_secret", azure.secret())]).await;
    assert_eq!((status, &given["token_type"], &given["expires_in"]), (200, &json!("Bearer"), &json!(3600)));
    let token = given["access_token"].as_str().unwrap();
    let principal = azure.tokens().accepts(token, SCOPE, Timestamp::now()).unwrap();
    assert_eq!((principal.client_id, principal.sign_in), (client_id(&azure), SignIn::Secret));
    let later = Timestamp::now() + Duration::from_secs(3601);
    assert_eq!(azure.tokens().accepts(token, SCOPE, later), None);
    assert_eq!(azure.calls()["POST token client_secret"], 1);
    assert!(!format!("{azure:?}").contains(azure.secret()) && !format!("{azure:?}").contains(token));
}

#[tokio::test]
async fn wrong_forms_are_refused_as_entra_does() {
    let azure = start(settings());
    let secret = ("client_secret", azure.secret());
    assert_eq!(refused(&post(&azure, &[("client_secret", "guess")]).await, 7_000_215), (401, "invalid_client"));
    assert_eq!(refused(&post(&azure, &[]).await, 7_000_218), (401, "invalid_client"));
    assert_eq!(refused(&post(&azure, &[("client_id", "x"), secret]).await, 700_016), (400, "unauthorized_client"));
    assert_eq!(refused(&post(&azure, &[("scope", "x"), secret]).await, 1_002_012), (400, "invalid_scope"));
    let unknown = [("scope", "https://unknown.example/.default"), secret];
    assert_eq!(refused(&post(&azure, &unknown).await, 500_011), (400, "invalid_resource"));
    let grant = [("grant_type", "password"), secret];
    assert_eq!(refused(&post(&azure, &grant).await, 70003), (400, "unsupported_grant_type"));
    assert_eq!(refused(&post_to(&azure, "other", &[secret]).await, 90002), (400, "invalid_request"));
    assert_eq!(azure.tokens().count(), 0);
}

#[tokio::test]
async fn federated_tokens_hold_until_they_are_replaced() {
    let mut settings = settings();
    settings.applications = vec![Application::new("pod", "pod-id").with_federated_token("old".into())];
    let azure = start(settings);
    let with =
        async |token| post(&azure, &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", token)]).await;
    assert_eq!(with("old").await.0, 200);
    azure.set_federated_tokens("pod-id", vec!["new".into()]);
    assert_eq!(refused(&with("old").await, 700_213), (401, "invalid_client"));
    assert_eq!(with("new").await.0, 200);
    assert_eq!(azure.calls()["POST token federated"], 3);
}

#[derive(Clone)]
struct Draft {
    header: Value,
    claims: Value,
    encoding: &'static dyn RsaEncoding,
}

impl Draft {
    fn good(azure: &AzureSandbox) -> Self {
        let now = Timestamp::now().as_second();
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(Sha1::digest(CERTIFICATE));
        Self {
            header: json!({ "alg": "RS256", "typ": "JWT", "x5t": thumbprint }),
            claims: json!({
                "iss": client_id(azure),
                "sub": client_id(azure),
                "aud": format!("{}/{}/oauth2/v2.0/token", azure.url(), azure.settings().tenant),
                "jti": "1",
                "nbf": now,
                "exp": now + 600,
            }),
            encoding: &RSA_PKCS1_SHA256,
        }
    }

    fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims[name] = value;
        self
    }

    async fn sign_in(&self, azure: &AzureSandbox) -> (u16, Value) {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&self.header), part(&self.claims));
        let pair = RsaKeyPair::from_pkcs8(KEY).unwrap();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(self.encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        let assertion = format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
        post(azure, &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)]).await
    }
}

#[tokio::test]
async fn a_certificates_key_signs_in_and_nothing_else_does() {
    let mut settings = settings();
    settings.applications = vec![Application::new("build box", "box-id").with_certificate(CERTIFICATE)];
    let azure = start(settings);
    let good = Draft::good(&azure);
    let (status, given) = good.sign_in(&azure).await;
    assert_eq!(status, 200, "{given}");
    let token = given["access_token"].as_str().unwrap();
    let principal = azure.tokens().accepts(token, SCOPE, Timestamp::now()).unwrap();
    assert_eq!(principal.sign_in, SignIn::Certificate);

    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(CERTIFICATE));
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    let pss = Draft { header: header.clone(), encoding: &RSA_PSS_SHA256, ..good.clone() };
    assert_eq!(pss.sign_in(&azure).await.0, 200);
    let wrongly_signed = Draft { header, ..good.clone() };
    assert_eq!(refused(&wrongly_signed.sign_in(&azure).await, 700_027), (401, "invalid_client"));
    let unknown = Draft { header: json!({ "alg": "RS256", "x5t": "unknown" }), ..good.clone() };
    assert_eq!(refused(&unknown.sign_in(&azure).await, 700_027), (401, "invalid_client"));
    let elsewhere = good.clone().claim("aud", json!("https://login.microsoftonline.com/t/oauth2/v2.0/token"));
    assert_eq!(refused(&elsewhere.sign_in(&azure).await, 700_023), (401, "invalid_client"));
    let old = good.clone().claim("exp", json!(Timestamp::now().as_second() - 301));
    assert_eq!(refused(&old.sign_in(&azure).await, 700_024), (401, "invalid_client"));
    let of_another = good.clone().claim("sub", json!("another"));
    assert_eq!(refused(&of_another.sign_in(&azure).await, 700_021), (401, "invalid_client"));
    assert_eq!(azure.calls()["POST token certificate"], 7);
}
