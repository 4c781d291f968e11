//! SIGKILL at every step of a group's life: whoever comes next finds by tags and names what there is, and makes nothing twice.

use kubectl_ado::sandbox::azure::{AzureFaultKind, AzureRules};

use crate::stage::{By, Stage, calls, count, in_time};

/// Enough for each life to have some left.
const REQUESTS: usize = 60;

async fn killed_at_every_step(by: By) {
    let stage = Stage::new(AzureRules::default());
    let requests = stage.queue(REQUESTS, "sleep 1");
    let azure = &stage.azure;
    let unseen = || azure.history().iter().filter(|group| group.exit_code.is_some() && group.deletes == 0).count();
    let accepted = || azure.history().iter().filter(|group| group.deletes > 0).count();
    let deleted = || azure.history().iter().filter(|group| group.deleted_at.is_some()).count();
    let logs_read = || count(azure, "GET containerGroups/{name}/logs");

    // Agents are registered, where that comes first, and no group of theirs is made.
    azure.inject(AzureFaultKind::Dropped.always().on("PUT "));
    let serve = stage.serve(by).start();
    in_time("groups are asked for in vain", || count(azure, "PUT dropped") >= 4).await;
    serve.kill();
    assert_eq!(azure.history(), []);
    assert_eq!(stage.registrations() > 0, by == By::Files);

    // Groups are asked for, and no answer comes.
    azure.clear_faults();
    azure.inject(AzureFaultKind::LostReply.times(4).on("PUT "));
    let asked = calls(azure, "PUT");
    let serve = stage.serve(by).start();
    in_time("answers are lost", || calls(azure, "PUT") >= asked + 4).await;
    serve.kill();

    // Agents are on their way, and at work.
    let made = calls(azure, "PUT");
    let serve = stage.serve(by).start();
    in_time("agents run", || calls(azure, "PUT") >= made + 5 && azure.running() >= 5).await;
    stage.no_secret_can_be_read();
    serve.kill();

    // Groups have ended, and nobody has seen it.
    in_time("groups have ended", || unseen() >= 3).await;
    // Their logs are read, and they are not deleted.
    azure.inject(AzureFaultKind::Dropped.always().on("DELETE "));
    let (before, read) = (accepted(), logs_read());
    let serve = stage.serve(by).start();
    in_time("logs are read", || logs_read() >= read + 3 && count(azure, "DELETE dropped") >= 3).await;
    serve.kill();
    assert_eq!(accepted(), before);

    // Answers to deletions are lost.
    azure.clear_faults();
    azure.inject(AzureFaultKind::LostReply.times(2).on("DELETE "));
    let asked = calls(azure, "DELETE");
    let serve = stage.serve(by).start();
    in_time("groups are being deleted", || calls(azure, "DELETE") >= asked + 2).await;
    serve.kill();

    let gone = deleted();
    let serve = stage.serve(by).start();
    in_time("groups are deleted", || deleted() >= gone + 5).await;
    serve.kill();

    let serve = stage.serve(by).start();
    stage.all_are_served_and_nothing_is_left(&requests).await;
    stage.one_group_for_each(&requests, by);
    stage.no_secret_was_left();
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
