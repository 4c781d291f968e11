//! A token that ends while the orchestrator runs: the next one takes its place, for us and for agents.

use std::time::{Duration, Instant};

use kubectl_ado::sandbox::{AgentSpec, JobResult, JobSpec};

use super::{PATIENCE, World};

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(6);

/// How many tokens the run has to outlive.
const TOKENS: u64 = 4;

#[tokio::test]
async fn agents_of_both_kinds_work_while_their_orchestrator_s_tokens_end_one_after_the_other() {
    let world = World::new();
    world.azure.set_token_lifetime(LIFETIME);
    let pools = ["Classic", "Just In Time"].map(|name| {
        let pool = world.sandbox.add_pool(name).unwrap();
        world.sandbox.add_agent(pool, AgentSpec::named("placeholder").disabled()).unwrap();
        pool
    });
    let file = "pools:\n- name: Classic\n  templates: [{name: default, registration: token}]\n- name: Just In Time\n";
    std::fs::write(world.folder.path().join("ado.yaml"), file).unwrap();
    let path = ("PATH", std::env::var("PATH").unwrap());
    let variables: Vec<_> = world.by_secret().into_iter().chain([path]).collect();
    let running = world.process(&["serve", "--config", "ado.yaml"], &variables);

    let tokens = || world.azure.calls().get("POST token client_secret").copied().unwrap_or_default();
    let began = Instant::now();
    let mut requests = Vec::new();
    while tokens() < TOKENS {
        for pool in pools {
            requests.push(world.sandbox.queue(pool, JobSpec::new("ci", "job").step("work", "true")).unwrap());
        }
        let served = world
            .sandbox
            .until(PATIENCE, |state| {
                requests.iter().all(|id| state.find_request(*id).is_some_and(|it| it.finished_at.is_some()))
            })
            .await;
        assert!(served, "not served: {}", running.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(began.elapsed() < PATIENCE * 2, "{} tokens: {}", tokens(), running.log());
    }
    assert!(began.elapsed() > LIFETIME, "the first token has ended");
    for id in requests {
        assert_eq!(world.sandbox.request(id).unwrap().result, Some(JobResult::Succeeded));
    }
    let most = u64::try_from(began.elapsed().as_millis() / 1500).unwrap() + 2;
    assert!(tokens() <= most, "{} tokens in {:?}: no call asks for one of its own", tokens(), began.elapsed());

    let log = running.log();
    assert!(log.contains("signed in with Entra"), "{log}");
    assert!(log.contains("orchestrator, by EnvironmentCredential (client secret)"), "{log}");
    assert!(!log.contains("rejected the token") && !log.contains("does not know this identity"), "{log}");
    world.assert_tells_nothing(&log, "the log");
}
