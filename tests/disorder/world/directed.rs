//! One small schedule for each fault that was once found in the orchestrator: the same thing goes wrong as in life, and
//! nothing else does.
//!
//! docs/storms.md says which invariant did not hold in each of them on the code of before, and in which words.

use std::time::Duration;

use hyper::Method;

use crate::{
    clock::Machine,
    cluster::resource::JOBS,
    weather::{Adversity, Call, Shape},
};

use super::{
    happening::Happening,
    play::play,
    scene::{Job, Scene, Served},
};

const SEED: u64 = 1;

/// Plays it; all that went wrong is printed with the log. With DISORDER_SHOW and `--nocapture` the log is printed in any case.
#[allow(clippy::print_stdout, reason = "somebody asks for it")]
fn holds(scene: Scene) {
    let played = play(scene, SEED);
    if std::env::var("DISORDER_SHOW").is_ok() {
        println!("{}", played.lines.join("\n"));
    }
    assert!(played.wrongs.is_empty(), "{}\n\n{}", played.wrongs.join("\n"), played.lines.join("\n"));
    assert!(played.runs > 0, "nothing happened");
}

fn slow(call: Option<Call>, pool: Option<&str>, millis: u64) -> Adversity {
    Adversity::SlowCall { call, pool: pool.map(str::to_owned), by: Duration::from_millis(millis) }
}

fn bad_list(call: Call, shape: Shape) -> Adversity {
    Adversity::BadList { call, pool: None, shape }
}

#[test]
fn an_idle_agent_is_kept_ready_however_many_short_jobs_come() {
    let mut scene = Scene::of(&["Linux"]).jobs("Linux", 30, 30, 8).work(2..=2).lasts(400);
    scene.pools = vec![Served { idle: 1, max: Some(2), ..Served::named("Linux") }];
    scene.tempo.cold_start = 1_000..=2_000;
    scene.tempo.place = 0..=500;
    scene.tempo.pod = 50..=500;
    holds(scene);
}

#[test]
fn the_least_number_of_agents_is_there_again_after_jobs_that_came_one_after_the_other() {
    let mut scene = Scene::of(&["Linux"]).jobs("Linux", 14, 30, 20).work(2..=2).lasts(500);
    scene.pools = vec![Served { min: 1, ..Served::named("Linux") }];
    holds(scene);
}

#[test]
fn agents_start_though_the_parallel_jobs_take_five_seconds_for_each_tag() {
    holds(Scene::of(&["Linux"]).wrong(0..1_000, slow(Some(Call::ParallelJobs), None, 5_200)).jobs("Linux", 3, 10, 1));
}

#[test]
fn agents_start_though_the_parallel_jobs_are_never_answered() {
    holds(Scene::of(&["Linux"]).wrong(0..1_000, slow(Some(Call::ParallelJobs), None, 40_000)).jobs("Linux", 3, 10, 1));
}

#[test]
fn agents_start_though_each_call_to_azure_devops_takes_five_seconds() {
    holds(Scene::of(&["Linux"]).wrong(0..1_000, slow(None, None, 5_100)).jobs("Linux", 3, 10, 1));
}

#[test]
fn agents_start_though_each_call_to_azure_devops_takes_almost_thirty_seconds() {
    let scene = Scene::of(&["Linux"]).wrong(0..1_000, slow(None, None, 28_000)).jobs("Linux", 3, 10, 1);
    holds(scene.work(60..=90).lasts(900));
}

#[test]
fn agents_start_though_the_agents_list_takes_twelve_seconds() {
    holds(Scene::of(&["Linux"]).wrong(0..1_000, slow(Some(Call::Agents), None, 12_000)).jobs("Linux", 3, 10, 1));
}

#[test]
fn agents_of_one_pool_start_though_a_needless_job_of_another_cannot_be_deleted() {
    let hangs = Adversity::SlowApi { method: Method::DELETE, plural: JOBS.plural, by: Duration::from_secs(3_600) };
    let mut scene = Scene::of(&["Linux", "Windows"]).wrong(0..400, hangs).jobs("Linux", 4, 40, 20).lasts(500);
    scene.jobs.extend((0..3).map(|_| Job {
        at: Duration::from_secs(30),
        pool: "Windows".to_owned(),
        cancelled_after: Some(Duration::from_secs(12)),
    }));
    // Nothing is placed for long, so that what is needless is taken back.
    scene.tempo.place = 90_000..=120_000;
    holds(scene);
}

#[test]
fn an_agent_that_took_its_registration_back_after_a_long_job_keeps_its_job() {
    let scene = Scene::of(&["Linux"]).jobs("Linux", 6, 5, 15).start_timeout(30).work(60..=70);
    holds(scene.lasts(300));
}

#[test]
fn running_jobs_go_on_when_lists_are_empty_for_six_seconds() {
    let scene = Scene::of(&["Linux"]).jobs("Linux", 3, 5, 1).start_timeout(30).work(60..=70);
    let scene = scene.wrong(45..51, bad_list(Call::Agents, Shape::Empty));
    holds(scene.wrong(45..51, bad_list(Call::Requests, Shape::Empty)));
}

#[test]
fn running_jobs_go_on_when_lists_are_cut_in_half_for_six_seconds() {
    let scene = Scene::of(&["Linux"]).jobs("Linux", 6, 5, 1).start_timeout(30).work(60..=70);
    let scene = scene.wrong(45..51, bad_list(Call::Agents, Shape::Halved));
    holds(scene.wrong(45..51, bad_list(Call::Requests, Shape::Halved)));
}

#[test]
fn running_jobs_go_on_while_the_token_has_lost_sight_of_the_pool() {
    let scene = Scene::of(&["Linux"]).jobs("Linux", 3, 5, 1).start_timeout(30).work(200..=220);
    holds(scene.wrong(45..120, Adversity::OutOfSight { pool: "Linux".to_owned() }));
}

#[test]
fn running_jobs_go_on_and_new_ones_are_served_when_the_pool_is_renamed_and_made_anew() {
    let mut scene = Scene::of(&["Linux"]).jobs("Linux", 3, 5, 1).jobs("Linux", 3, 70, 5).start_timeout(40);
    scene = scene.at(50, Happening::RenamePool("Linux".to_owned()));
    holds(scene.work(100..=120).lasts(600));
}

#[test]
fn jobs_are_served_when_the_pool_is_deleted_and_made_anew() {
    let scene = Scene::of(&["Linux"]).jobs("Linux", 3, 50, 5);
    holds(scene.at(30, Happening::DeletePool("Linux".to_owned())).lasts(600));
}

#[test]
fn a_pool_whose_registrations_cannot_be_removed_does_not_hold_up_another() {
    let mut scene = Scene::of(&["Linux", "Windows"]).at(0, Happening::Leftovers("Windows".to_owned(), 60));
    scene = scene.wrong(0..1_000, slow(Some(Call::Deregister), Some("Windows"), 29_000));
    holds(scene.jobs("Linux", 20, 20, 9).work(3..=3).lasts(400));
}

#[test]
fn what_a_token_may_not_change_is_not_asked_for_each_second() {
    let scene = Scene::of(&["Linux"]).wrong(0..1_000, Adversity::ReadOnly { pool: None });
    holds(scene.jobs("Linux", 10, 10, 1).work(120..=120));
}

#[test]
fn a_job_that_a_queue_holds_keeps_its_place() {
    let mut scene = Scene::of(&["Linux"]).jobs("Linux", 3, 10, 1).start_timeout(30).lasts(500);
    scene.queue = Some(200_000..=250_000);
    holds(scene);
}

fn pool_taken_out(happening: Happening) -> Scene {
    let mut scene = Scene::of(&["Linux", "Windows"]).at(60, happening);
    scene.pools[1].idle = 1;
    scene.most = Some(1);
    scene.jobs("Linux", 2, 100, 5).lasts(500)
}

#[test]
fn idle_agents_of_a_pool_that_is_no_longer_served_go() {
    holds(pool_taken_out(Happening::Unserve("Windows".to_owned())));
}

#[test]
fn idle_agents_of_a_pool_that_is_no_longer_served_go_after_a_restart() {
    holds(pool_taken_out(Happening::UnserveAndRestart("Windows".to_owned())));
}

#[test]
fn jobs_are_served_after_the_api_server_was_restored_from_a_backup() {
    let mut scene = Scene::of(&["Linux"]).jobs("Linux", 4, 10, 1).jobs("Linux", 2, 130, 5);
    scene = scene.at(5, Happening::Backup).at(120, Happening::Restore);
    scene.pools[0].max = Some(4);
    holds(scene.work(300..=300).lasts(900));
}

#[test]
fn agents_start_and_stay_when_the_orchestrators_clock_is_six_minutes_ahead() {
    let scene = Scene::of(&["Linux"]).at(5, Happening::Clock(Machine::Orchestrator, 360));
    holds(scene.jobs("Linux", 4, 10, 10));
}

#[test]
fn an_agent_that_failed_is_replaced_though_the_orchestrators_clock_is_an_hour_behind() {
    let mut scene = Scene::of(&["Linux"]).at(5, Happening::Clock(Machine::Orchestrator, -3_600));
    // Each agent dies that comes in the first minute.
    scene.fate.deaths = 1.0;
    holds(scene.jobs("Linux", 2, 10, 10).lasts(60));
}

#[test]
fn agents_start_and_stay_when_the_clock_of_azure_devops_is_an_hour_behind() {
    let mut scene = Scene::of(&["Linux"]).at(5, Happening::Clock(Machine::AzureDevOps, -3_600));
    scene.pools[0].idle = 1;
    holds(scene.jobs("Linux", 4, 30, 30));
}

#[test]
fn a_request_that_stands_twice_in_the_list_gets_one_agent_and_counts_once() {
    let scene = Scene::of(&["Linux"]).wrong(0..1_000, bad_list(Call::Requests, Shape::Doubled));
    holds(scene.jobs("Linux", 4, 10, 1));
}

#[test]
fn an_agent_that_stands_twice_in_the_list_counts_once() {
    let mut scene = Scene::of(&["Linux"]).wrong(0..1_000, bad_list(Call::Agents, Shape::Doubled));
    scene.pools[0].idle = 2;
    holds(scene.jobs("Linux", 4, 60, 5));
}
