//! The agent signs in with a key of its own, whoever has written its files.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::sandbox::{AssertionFault, KeySpec, PublicKey};

const KEY: &str = include_str!("../keys/short_inverse_q.json");
const OTHER_KEY: &str = include_str!("../keys/short_dp.json");

/// The keys that another program has made, one for each number that can be short.
const KEYS: [&str; 5] = [
    include_str!("../keys/full.json"),
    include_str!("../keys/short_d.json"),
    include_str!("../keys/short_dp.json"),
    include_str!("../keys/short_dq.json"),
    include_str!("../keys/short_inverse_q.json"),
];

fn start_with(settings: Settings) -> (Sandbox, i64) {
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), settings).unwrap();
    let pool = sandbox.add_pool("linux").unwrap();
    (sandbox, pool)
}

fn public(file: &str) -> PublicKey {
    let file: Value = serde_json::from_str(file).unwrap();
    let number = |name: &str| BASE64_STANDARD.decode(file[name].as_str().unwrap()).unwrap();
    PublicKey { exponent: number("exponent"), modulus: number("modulus") }
}

/// Registers an agent in its place, and writes the three files that it then needs.
fn enroll(sandbox: &Sandbox, pool: i64, name: &str, key: &str, root: &Path) -> i64 {
    let authorization_url = format!("{}/_apis/oauth2/token/here", sandbox.url());
    let key_spec = KeySpec { public_key: public(key), authorization_url: authorization_url.clone() };
    let id = sandbox.add_agent(pool, AgentSpec { key: Some(key_spec), ..AgentSpec::named(name) }).unwrap();
    let client_id = client_id(sandbox, pool, id).unwrap();
    let settings = json!({ "acceptTeeEula": true, "agentId": id, "agentName": name, "poolId": pool, "poolName": "linux",
        "serverUrl": format!("{}/", sandbox.url()), "workFolder": "_work" });
    let data = json!({ "clientId": client_id, "authorizationUrl": authorization_url });
    let credentials = json!({ "scheme": "OAuth", "data": data });
    for (file, text) in FILES.into_iter().zip([&settings.to_string(), &credentials.to_string(), key]) {
        std::fs::write(root.join(file), text).unwrap();
    }
    id
}

fn client_id(sandbox: &Sandbox, pool: i64, agent: i64) -> Option<String> {
    sandbox.see(|state| Some(state.agent(pool, agent).unwrap().authorization.as_ref()?.client_id.clone()))
}

fn entries(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn config_writes_the_three_files_and_forgets_the_token() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    configure(&sandbox, root.path(), "a").await.unwrap();
    assert_eq!(entries(root.path()), FILES);
    let read = |file: &str| std::fs::read_to_string(root.path().join(file)).unwrap();
    for file in FILES {
        assert!(!read(file).contains(sandbox.token()), "{file}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(root.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
    let id = sandbox.agents(pool)[0].id;
    let credentials: Value = serde_json::from_str(&read(".credentials")).unwrap();
    assert_eq!(credentials["scheme"], "OAuth");
    let data = &credentials["data"];
    assert_eq!(data["clientId"], client_id(&sandbox, pool, id).unwrap());
    assert_eq!(data["authorizationUrl"], data["oauthEndpointUrl"]);
    let registered = sandbox.agents(pool)[0].authorization.clone().unwrap();
    assert_eq!(registered.public_key, public(&read(".credentials_rsaparams")));
    assert_eq!(data["authorizationUrl"], registered.authorization_url);
}

#[tokio::test]
async fn an_agent_lives_on_three_files_that_it_cannot_change_whatever_its_key() {
    for use_fips_encryption in [false, true] {
        let (sandbox, pool) = start_with(Settings { use_fips_encryption, ..Settings::default() });
        for (number, key) in KEYS.into_iter().enumerate() {
            let root = tempfile::tempdir().unwrap();
            let id = enroll(&sandbox, pool, &format!("a-{number}"), key, root.path());
            let read = || FILES.map(|file| std::fs::read_to_string(root.path().join(file)).unwrap());
            let before = read();
            for file in FILES {
                let path = root.path().join(file);
                let mut permissions = std::fs::metadata(&path).unwrap().permissions();
                permissions.set_readonly(true);
                std::fs::set_permissions(&path, permissions).unwrap();
            }
            let request = sandbox.queue(pool, JobSpec::new("ci", "Bücher").step("x", "true")).unwrap();
            run_once(root.path()).await.unwrap();
            assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
            assert_eq!(sandbox.request(request).unwrap().agent.unwrap().id, id);
            assert_eq!(read(), before);
            let expected = [&FILES[..], &["_work", "bin"]].concat();
            assert_eq!(entries(root.path()), expected);
        }
        let assertions = sandbox.assertions();
        assert_eq!((assertions.verified, assertions.refused.len()), (5, 0), "one token each");
    }
}

#[tokio::test]
async fn a_byte_order_mark_and_the_scheme_of_old_are_understood() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    enroll(&sandbox, pool, "a", KEY, root.path());
    for file in FILES {
        let text = std::fs::read_to_string(root.path().join(file)).unwrap();
        std::fs::write(root.path().join(file), format!("\u{feff}{text}")).unwrap();
    }
    sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "true")).unwrap();
    run_once(root.path()).await.unwrap();
    assert_eq!(sandbox.assertions().verified, 1);

    sandbox.remove_agent(pool, sandbox.agents(pool)[0].id).unwrap();
    let id = sandbox.add_agent(pool, AgentSpec::named("old")).unwrap();
    let settings = json!({ "agentId": id, "agentName": "old", "poolId": pool, "serverUrl": sandbox.url(),
        "workFolder": "_work" });
    std::fs::write(root.path().join(".agent"), settings.to_string()).unwrap();
    let credentials = json!({ "scheme": "PAT", "data": { "token": sandbox.token() } });
    std::fs::write(root.path().join(".credentials"), credentials.to_string()).unwrap();
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "true")).unwrap();
    run_once(root.path()).await.unwrap();
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    assert_eq!(sandbox.assertions().verified, 1);
}

#[tokio::test]
async fn files_that_are_not_right_are_told_before_anything_is_done() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    enroll(&sandbox, pool, "a", KEY, root.path());
    let key: Value = serde_json::from_str(KEY).unwrap();
    let number = BASE64_STANDARD.decode(key["inverseQ"].as_str().unwrap()).unwrap();
    let mut naive = key.clone();
    naive["inverseQ"] = BASE64_STANDARD.encode(&number[1..]).into();
    let agent: Value = serde_json::from_str(&std::fs::read_to_string(root.path().join(".agent")).unwrap()).unwrap();
    let mut nowhere = agent.clone();
    nowhere["workFolder"] = "".into();
    for (file, content, says) in [
        (".credentials_rsaparams", naive.to_string(), "inverseQ has 127 bytes, and must have 128"),
        (".credentials_rsaparams", "{}".to_owned(), "damaged"),
        (".credentials", json!({ "scheme": "OAuth", "data": { "clientid": "x" } }).to_string(), "lacks"),
        (".credentials", json!({ "scheme": "Negotiate", "data": {} }).to_string(), "Negotiate"),
        (".agent", nowhere.to_string(), "workFolder"),
        (".agent", "{}".to_owned(), "damaged"),
    ] {
        let path = root.path().join(file);
        let good = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        let error = run_once(root.path()).await.unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(file), "{error}");
        std::fs::write(&path, good).unwrap();
    }
    std::fs::remove_file(root.path().join(".credentials_rsaparams")).unwrap();
    assert!(run_once(root.path()).await.unwrap_err().to_string().contains(".credentials_rsaparams"));
    assert!(sandbox.calls().is_empty());
}

#[tokio::test]
async fn a_token_that_expires_is_renewed_while_a_job_runs() {
    let rules = Rules { renew_every: Duration::from_millis(100), ..Rules::default() };
    let token_lifetime = Duration::from_secs(1);
    let (sandbox, pool) = start_with(Settings { rules, token_lifetime, ..Settings::default() });
    let root = tempfile::tempdir().unwrap();
    enroll(&sandbox, pool, "a", KEY, root.path());
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "sleep 3")).unwrap();
    run_once(root.path()).await.unwrap();
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    let assertions = sandbox.assertions();
    assert!((3..=6).contains(&assertions.verified) && assertions.refused.is_empty(), "{assertions:?}");
}

#[tokio::test]
async fn an_agent_whose_token_is_not_accepted_any_more_signs_in_anew() {
    let rules = Rules { renew_every: Duration::from_millis(100), ..Rules::default() };
    let poll_pause = Duration::ZERO..=Duration::ZERO;
    let settings = Settings { rules, hold: Duration::from_millis(300), poll_pause, ..Settings::default() };
    let (sandbox, pool) = start_with(settings);
    let root = tempfile::tempdir().unwrap();
    enroll(&sandbox, pool, "a", KEY, root.path());
    let agent = tokio::spawn(run_once(root.path()));
    assert!(sandbox.until(LONG, |state| state.online_agents() == 1).await);
    sandbox.revoke_access_tokens();
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "sleep 1")).unwrap();
    let received = |state: &State| state.find_request(request).unwrap().phase() == Phase::Received;
    assert!(sandbox.until(LONG, received).await);
    sandbox.revoke_access_tokens();
    agent.await.unwrap().unwrap();
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    assert_eq!(sandbox.assertions().verified, 3);
}

#[tokio::test]
async fn an_agent_whose_key_is_replaced_hears_nothing_more_and_ends_well() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    let id = enroll(&sandbox, pool, "a", KEY, root.path());
    let agent = tokio::spawn(run_once(root.path()));
    assert!(sandbox.until(LONG, |state| state.online_agents() == 1).await);
    let public = json!({ "exponent": "AQAB", "modulus": serde_json::from_str::<Value>(OTHER_KEY).unwrap()["modulus"] });
    let url = format!("{}/_apis/distributedtask/pools/{pool}/agents/{id}", sandbox.url());
    let body = json!({ "name": "a", "authorization": { "publicKey": public } });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let replaced = client.put(url).bearer_auth(sandbox.token()).json(&body).send().await.unwrap();
    assert_eq!(replaced.status(), 200);
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "true")).unwrap();
    agent.await.unwrap().unwrap();
    assert_ne!(sandbox.request(request).unwrap().phase(), Phase::Received);
    assert!(sandbox.assertions().refused.is_empty(), "what is revoked is not asked for again");
}

#[tokio::test]
async fn an_agent_gets_over_a_token_endpoint_that_has_a_bad_moment() {
    let (sandbox, pool) = start(Rules::default());
    let root = tempfile::tempdir().unwrap();
    enroll(&sandbox, pool, "a", KEY, root.path());
    sandbox.inject(FaultKind::InvalidClient.times(1));
    sandbox.inject(FaultKind::ServerError.times(1).on("oauth2"));
    sandbox.inject(FaultKind::CutOff.times(1).on("oauth2"));
    sandbox.inject(FaultKind::LostReply.times(1).on("oauth2"));
    sandbox.inject(FaultKind::Throttled(Duration::from_secs(1)).times(1).on("oauth2"));
    sandbox.inject(FaultKind::Latency(Duration::from_millis(100)).always().on("oauth2"));
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "true")).unwrap();
    run_once(root.path()).await.unwrap();
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
    assert_eq!(sandbox.assertions().refused, [].into(), "it makes a new assertion for each attempt");
}

#[tokio::test]
async fn an_agent_whose_clock_is_wrong_at_its_first_connection_ends_with_the_code_for_another_try() {
    let (sandbox, pool) = start_with(Settings { clock_ahead: SignedDuration::from_hours(1), ..Settings::default() });
    let root = tempfile::tempdir().unwrap();
    enroll(&sandbox, pool, "a", KEY, root.path());
    let error = run_once(root.path()).await.unwrap_err();
    assert!(error.to_string().contains("Current server time is") && error.code() == 2, "{error}");
    assert_eq!(sandbox.assertions().refused, [(AssertionFault::Expired, 1)].into());
}

#[tokio::test]
async fn an_agent_whose_clock_goes_wrong_later_waits_for_it() {
    let settings = Settings {
        hold: Duration::from_millis(50),
        poll_pause: Duration::ZERO..=Duration::ZERO,
        ..Settings::default()
    };
    let (sandbox, pool) = start_with(settings);
    let root = tempfile::tempdir().unwrap();
    enroll(&sandbox, pool, "a", KEY, root.path());
    let agent = tokio::spawn(run_once(root.path()));
    assert!(sandbox.until(LONG, |state| state.online_agents() == 1).await);
    sandbox.set_clock_ahead(SignedDuration::from_hours(1));
    sandbox.revoke_access_tokens();
    for _ in 0..500 {
        if sandbox.assertions().refused.contains_key(&AssertionFault::Expired) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sandbox.set_clock_ahead(SignedDuration::ZERO);
    let request = sandbox.queue(pool, JobSpec::new("ci", "x").step("x", "true")).unwrap();
    agent.await.unwrap().unwrap();
    assert_eq!(sandbox.request(request).unwrap().result, Some(JobResult::Succeeded));
}
