//! The keys as another library sees them, and the files.

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{key::PrivateNumbers, *};
use crate::{azure_devops::PoolId, core::AgentId};

mod padding;

/// The fields of the key file with the bytes that each must have.
const LENGTHS: [(&str, usize); 7] =
    [("modulus", 256), ("d", 256), ("p", 128), ("q", 128), ("dp", 128), ("dq", 128), ("inverseQ", 128)];

fn field(file: &str, name: &str) -> Vec<u8> {
    let file: Value = serde_json::from_str(file).unwrap();
    BASE64_STANDARD.decode(file[name].as_str().unwrap()).unwrap()
}

fn check(key: &AgentKey) {
    let file = key.file();
    for (name, length) in LENGTHS {
        assert_eq!(field(&file, name).len(), length, "{name}");
    }
    assert_eq!(field(&file, "exponent"), [1, 0, 1]);
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let token = assertion(key, "client", "https://example/token", now).unwrap();
    let (signed, signature) = token.expose_secret().rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let public = RsaPublicKeyComponents { n: field(&file, "modulus"), e: field(&file, "exponent") };
    public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).unwrap();
}

/// A thousand keys; ring takes each of them apart, checks that its numbers belong together, signs and verifies.
#[test]
fn each_number_of_a_thousand_keys_has_its_full_length_and_another_library_accepts_them() {
    let workers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let mut padded = 0;
                for _ in 0..250 {
                    let key = AgentKey::generate().unwrap();
                    check(&key);
                    let PrivateNumbers { d, dp, dq, inverse_q, .. } = key.private_numbers();
                    let starts_with_zero = [&d[..], dp, dq, inverse_q].iter().any(|number| number[0] == 0);
                    padded += u32::from(starts_with_zero);
                }
                padded
            })
        })
        .collect();
    let padded: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert!(padded > 0, "some of a thousand keys have a number that is shorter");
}

#[test]
fn a_key_shows_nothing_of_itself() {
    let key = AgentKey::generate().unwrap();
    assert_eq!(format!("{key:?}"), "AgentKey(…)");
    let agent = RegisteredAgent {
        id: AgentId(57),
        name: "job-4711".to_owned(),
        pool: PoolId(11),
        pool_name: "k8s".to_owned(),
        client_id: "c1".to_owned(),
        authorization_url: "https://vssps.example/token".to_owned(),
    };
    let files = files("https://dev.azure.com/org", &agent, &key);
    assert!(!format!("{files:?}").contains(&BASE64_STANDARD.encode(key.private_numbers().d)));
    let settings: Value = serde_json::from_str(files[".agent"].expose_secret()).unwrap();
    assert_eq!(
        settings,
        serde_json::json!({"acceptTeeEula": true, "agentId": 57, "agentName": "job-4711", "poolId": 11, "poolName": "k8s",
            "serverUrl": "https://dev.azure.com/org/", "workFolder": "_work"})
    );
    let credentials: Value = serde_json::from_str(files[".credentials"].expose_secret()).unwrap();
    assert_eq!(
        credentials,
        serde_json::json!({"scheme": "OAuth", "data": {"clientId": "c1", "authorizationUrl": "https://vssps.example/token",
            "oauthEndpointUrl": "https://vssps.example/token"}})
    );
}
