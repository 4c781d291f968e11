//! SIGKILL at every step of a group's life: whoever comes next finds by tags and names what there is, and makes nothing twice.

use kubectl_ado::sandbox::azure::{AzureFaultKind, AzureRules};

use crate::stage::{By, Stage, calls, in_time};

const REQUESTS: usize = 50;

async fn killed_at_every_step(by: By) {
    let stage = Stage::new(AzureRules::default());
    let requests = stage.queue(REQUESTS, "sleep 1");
    let azure = &stage.azure;
    let ended = || azure.history().iter().filter(|group| group.exit_code.is_some()).count();
    let deleting = || azure.history().iter().filter(|group| group.deletes > 0).count();
    let deleted = || azure.history().iter().filter(|group| group.deleted_at.is_some()).count();

    // Agents are registered, where that comes first, and no group of theirs is made.
    azure.inject(AzureFaultKind::Dropped.times(4).on("PUT "));
    let serve = stage.serve(by).start();
    in_time("groups are asked for in vain", || calls(azure, "PUT") >= 4).await;
    serve.kill();

    // Groups are asked for, and no answer comes.
    azure.clear_faults();
    azure.inject(AzureFaultKind::LostReply.times(4).on("PUT "));
    let asked = calls(azure, "PUT");
    let serve = stage.serve(by).start();
    in_time("answers are lost", || calls(azure, "PUT") >= asked + 4).await;
    serve.kill();

    // Agents are on their way, and at work.
    let serve = stage.serve(by).start();
    in_time("agents run", || azure.running() >= 5).await;
    serve.kill();

    // Groups have ended, and nobody has seen it.
    in_time("groups have ended", || ended() >= 3).await;
    // Their logs are read, and they are not deleted.
    azure.inject(AzureFaultKind::Dropped.always().on("DELETE "));
    let before = deleted();
    let serve = stage.serve(by).start();
    let logs_read = || azure.calls().get("GET containerGroups/{name}/logs").copied().unwrap_or_default();
    in_time("logs are read", || logs_read() >= 3).await;
    assert_eq!(deleted(), before);
    serve.kill();

    // Answers to deletions are lost.
    azure.clear_faults();
    let serve = stage.serve(by).start();
    azure.inject(AzureFaultKind::LostReply.times(2).on("DELETE "));
    in_time("groups are being deleted", || deleting() >= 1).await;
    serve.kill();

    let serve = stage.serve(by).start();
    in_time("groups are deleted", || deleted() >= 10).await;
    serve.kill();

    let serve = stage.serve(by).start();
    stage.all_are_served_and_nothing_is_left(&requests).await;
    stage.one_group_for_each(&requests, by);
    stage.no_secret_can_be_read();
    println!("{by:?}: calls {:?}, answers {:?}", azure.calls(), azure.answers());
    drop(serve);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_with_a_token_survive_whoever_started_them() {
    killed_at_every_step(By::Token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn just_in_time_agents_survive_whoever_started_them() {
    killed_at_every_step(By::Files).await;
}
