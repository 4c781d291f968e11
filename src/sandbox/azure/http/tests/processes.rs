//! What runs in groups.

use super::*;

fn with_script(script: &str) -> AzureSandbox {
    start(AzureSettings { entry_point: script.to_owned(), ..settings() })
}

fn is_there(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z")
}

async fn gone(pid: &str) -> bool {
    for _ in 0..500 {
        if !is_there(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// A line that the process of the group `one` has printed, once it is there.
async fn line(azure: &AzureSandbox) -> String {
    for _ in 0..1000 {
        let log = azure.log("one");
        if log.ends_with('\n') {
            return log.trim().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing was printed");
}

#[tokio::test]
async fn a_process_has_the_groups_environment_and_its_secret_files_and_nothing_else() {
    let azure = with_script("cat \"$FILE\"; echo; env | cut -d= -f1 | sort | tr '\\n' ' '; exit 3");
    call(&azure, Method::PUT, "/one", Some(body())).await;
    assert!(azure.until(PATIENCE, |groups| groups.history()[0].exit_code == Some(3)).await);
    let log = azure.log("one");
    let (content, names) = log.split_once('\n').unwrap();
    assert_eq!(content, "never seen");
    let names: Vec<&str> =
        names.split_whitespace().filter(|name| !["_", "SHLVL", "PWD", "OLDPWD"].contains(name)).collect();
    assert_eq!(names, ["FILE", "HIDDEN", "PATH", "PLAIN"]);
    let (_, group) = call(&azure, Method::GET, "/one", None).await;
    assert_eq!(group["properties"]["instanceView"]["state"], "Failed");
}

#[tokio::test]
async fn a_group_that_is_deleted_has_its_process_asked_to_stop() {
    let azure = with_script("trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.02; done");
    call(&azure, Method::PUT, "/one", Some(body())).await;
    line(&azure).await;
    assert_eq!(call(&azure, Method::DELETE, "/one", None).await.0, 202);
    assert!(azure.until(PATIENCE, |groups| groups.count() == 0).await);
    assert_eq!(azure.log("one"), "ready\nasked\n");
    assert_eq!(azure.history()[0].exit_code, Some(0));
}

#[tokio::test]
async fn a_process_that_does_not_stop_is_killed_with_all_that_it_started() {
    let azure = with_script("trap '' TERM; sleep 600 & echo $!; while :; do sleep 0.02; done");
    azure.set_rules(AzureRules { grace: Duration::from_millis(50), ..settings().rules });
    call(&azure, Method::PUT, "/one", Some(body())).await;
    let child = line(&azure).await;
    assert!(is_there(&child));
    call(&azure, Method::DELETE, "/one", None).await;
    assert!(azure.until(PATIENCE, |groups| groups.count() == 0).await);
    assert_eq!(azure.history()[0].exit_code, Some(137));
    assert!(gone(&child).await);
}

#[tokio::test]
async fn what_a_process_leaves_behind_is_ended_with_it() {
    let azure = with_script("sleep 600 & echo $!");
    call(&azure, Method::PUT, "/one", Some(body())).await;
    let child = line(&azure).await;
    assert!(gone(&child).await);
}

#[tokio::test]
async fn dropping_the_handle_ends_all_processes() {
    let azure = with_script("sleep 600 & echo $!; wait");
    call(&azure, Method::PUT, "/one", Some(body())).await;
    let child = line(&azure).await;
    let also = azure.clone();
    drop(azure);
    assert!(is_there(&child));
    drop(also);
    assert!(gone(&child).await);
}

#[tokio::test]
async fn a_command_of_the_container_is_run_instead_of_the_images_own() {
    let azure = with_script("echo \"script $*\"");
    let mut group = body();
    group["properties"]["containers"][0]["properties"]["command"] = json!(["cat", "/mnt/cred/token"]);
    call(&azure, Method::PUT, "/one", Some(group.clone())).await;
    group["properties"]["containers"][0]["properties"]["command"] = json!(["/azp/start.sh", "--once"]);
    call(&azure, Method::PUT, "/two", Some(group)).await;
    assert!(azure.until(PATIENCE, |groups| groups.history().iter().all(|one| one.exit_code == Some(0))).await);
    assert_eq!((azure.log("one"), azure.log("two")), ("never seen".to_owned(), "script --once\n".to_owned()));
}
