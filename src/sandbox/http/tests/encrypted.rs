//! Sessions and messages of agents that have a key.

use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use getrandom::SysRng;

use super::{keys::*, *};

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_sessions_key_is_for_its_agent_and_messages_are_encrypted_with_it() {
    for fips in [false, true] {
        let sandbox = start(Settings { use_fips_encryption: fips, ..Settings::default() });
        let (id, pool) = pool(&sandbox);
        let key = Key::second();
        let agent = register(&sandbox, id, "a", &key).await;
        let token = sign_in(&agent, &key).await;
        let (_, session) = open(&sandbox, &agent, &token).await;
        assert_eq!(session["useFipsEncryption"], fips);
        assert_eq!(session["encryptionKey"]["encrypted"], true);
        let sealed = bytes(&session["encryptionKey"]["value"]);
        assert_eq!(sealed.len(), 256);
        let opened = if fips {
            key.private.oaep_decrypt_with_rng::<sha2::Sha256, _>(&mut SysRng, &sealed)
        } else {
            key.private.oaep_decrypt_with_rng::<sha1::Sha1, _>(&mut SysRng, &sealed)
        };
        let opened: [u8; 32] = opened.unwrap().try_into().unwrap();

        sandbox.queue(id, JobSpec::new("ci", "Bücher").step("x", "true")).unwrap();
        let path = format!("{pool}/messages?sessionId={}", session["sessionId"].as_str().unwrap());
        let mut ivs = Vec::new();
        for _ in 0..2 {
            let (_, message) = by(&sandbox, &token, Method::GET, &path, None).await;
            assert_eq!(message["messageType"], "PipelineAgentJobRequest");
            let iv: [u8; 16] = bytes(&message["iv"]).try_into().unwrap();
            let body = bytes(&message["body"]);
            let plain = cbc::Decryptor::<aes::Aes256>::new(&opened.into(), &iv.into());
            let plain = plain.decrypt_padded_vec::<Pkcs7>(&body).unwrap();
            let job: Value = serde_json::from_slice(&plain).unwrap();
            assert_eq!(job["jobDisplayName"], "Bücher");
            ivs.push(iv);
        }
        assert_ne!(ivs[0], ivs[1]);
    }
}

#[tokio::test]
async fn each_session_has_another_key_and_one_at_a_time_is_open() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let key = Key::first();
    let agent = register(&sandbox, id, "a", &key).await;
    let token = sign_in(&agent, &key).await;
    let (_, first) = open(&sandbox, &agent, &token).await;
    let (status, conflict) = open(&sandbox, &agent, &token).await;
    assert_eq!((status, &conflict["typeKey"]), (409, &json!("TaskAgentSessionConflictException")));
    let path = format!("{pool}/sessions/{}", first["sessionId"].as_str().unwrap());
    assert_eq!(by(&sandbox, &token, Method::DELETE, &path, None).await.0, 204);
    let (_, second) = open(&sandbox, &agent, &token).await;
    let opened = |session: &Value| {
        let sealed = bytes(&session["encryptionKey"]["value"]);
        key.private.oaep_decrypt_with_rng::<sha1::Sha1, _>(&mut SysRng, &sealed).unwrap()
    };
    assert_ne!(opened(&first), opened(&second));
}

#[tokio::test]
async fn an_agent_without_a_key_goes_on_unencrypted() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let agent = sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    let body = Some(json!({ "agent": { "id": agent } }));
    let session: Value = call(&sandbox, Method::POST, &format!("{pool}/sessions"), body).await.json().await.unwrap();
    assert!(session.get("encryptionKey").is_none());
    sandbox.queue(id, JobSpec::new("ci", "x")).unwrap();
    let path = format!("{pool}/messages?sessionId={}", session["sessionId"].as_str().unwrap());
    let message = get(&sandbox, &path).await;
    assert!(message.get("iv").is_none() && message["body"].as_str().unwrap().starts_with('{'));
}

#[tokio::test]
async fn whose_key_is_replaced_while_it_waits_for_a_message_gets_none() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let (key, new) = (Key::first(), Key::second());
    let agent = register(&sandbox, id, "a", &key).await;
    let token = sign_in(&agent, &key).await;
    let (_, session) = open(&sandbox, &agent, &token).await;
    let path = format!("{pool}/messages?sessionId={}", session["sessionId"].as_str().unwrap());
    let waits = by(&sandbox, &token, Method::GET, &path, None);
    let replaces = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let body = json!({ "name": "a", "authorization": { "publicKey": new.public } });
        let one = format!("{pool}/agents/{}", agent.id);
        let again: Value = call(&sandbox, Method::PUT, &one, Some(body)).await.json().await.unwrap();
        sandbox.queue(id, JobSpec::new("ci", "x")).unwrap();
        of(id, &again)
    };
    let ((status, _), again) = tokio::join!(waits, replaces);
    assert_eq!(status, 401);
    assert_eq!(open(&sandbox, &agent, &token).await.0, 401);
    let token = sign_in(&again, &new).await;
    assert_eq!(open(&sandbox, &again, &token).await.0, 409, "the former session has yet to lapse");
}
