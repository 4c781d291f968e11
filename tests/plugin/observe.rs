//! The commands that observe and operate: few calls, lists, watches and waits, pauses, logs, and a clean end whatever
//! happens.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use control_plane::{AuditEvent, pods};
use kubectl_ado::core::{Code, Finding, PoolState};
use serde_json::json;

use crate::{
    fake_api::FakeApi,
    stage::{Playing, Ran, Stage, VERSION, ago, linux, plugin, report},
};

/// What was asked of the API server in the name of an account of the stage's namespace.
fn asked(stage: &Stage, account: &str) -> Vec<AuditEvent> {
    let user = format!("system:serviceaccount:{}:{account}", stage.namespace);
    stage.plane.audit_events().into_iter().filter(|event| event.user == user).collect()
}

#[tokio::test]
async fn status_makes_at_most_six_calls_and_never_reads_a_secret() {
    let stage = Stage::new("six-calls").await;
    let rights = ["list deployments.apps,configmaps,leases,pods,jobs.batch"];
    let run = |kubeconfig: &std::path::Path, flags: &[&str]| {
        let mut command = plugin(&[&["status"], flags].concat());
        command.env("KUBECONFIG", kubeconfig);
        Ran::of(command)
    };
    let kubeconfig = stage.account("healthy", &rights).await;
    run(&kubeconfig, &["-n", stage.namespace.name()]).ends(0);
    let healthy = asked(&stage, "healthy");
    assert_eq!(healthy.len(), 3, "{healthy:#?}");

    // All that can go wrong at once: all namespaces may not be searched, nothing is ready, and the status is old.
    let mut old = report();
    old.reported_at = ago(600);
    stage.play(&old).await;
    stage.plane.kubectl(&["-n", stage.namespace.name(), "scale", "deployment", "kubectl-ado", "--replicas=2"]).unwrap();
    let kubeconfig = stage.account("worst", &rights).await;
    run(&kubeconfig, &[]).ends(3);
    let worst = asked(&stage, "worst");
    assert!(worst.len() <= 6, "{worst:#?}");
    let kubeconfig = stage.account("named", &rights).await;
    let ran = run(&kubeconfig, &["-n", stage.namespace.name()]).ends(3);
    assert!(ran.out.contains("STALE: status of 10m ago") && ran.out.contains("Agent Jobs"), "{}", ran.out);
    let named = asked(&stage, "named");
    assert!(named.len() <= 6, "{named:#?}");
    for event in healthy.iter().chain(&worst).chain(&named) {
        assert!(event.verb == "list" && event.resource != "secrets" && event.subresource.is_empty(), "{event:?}");
    }
}

#[tokio::test]
async fn lists_are_printed_as_kubectl_does_it() {
    let stage = Stage::new("lists").await;
    let names = |arguments: &[&str]| stage.run(arguments).ends(0).out.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(&["pools", "-o", "name"]), ["linux", "Big GPU"]);
    assert_eq!(names(&["pools", "BIG gpu", "-o", "name"]), ["Big GPU"]);
    assert_eq!(names(&["pools", "--no-headers"]).len(), 2);
    assert_eq!(names(&["agents", "linux", "-o", "name"]).len(), 4);
    let unknown = stage.run(&["pools", "windows"]).ends(1);
    assert!(unknown.err.contains("serves no pool \"windows\"; its pools: linux, Big GPU"), "{}", unknown.err);
    let empty = stage.run(&["queue"]).ends(0);
    assert_eq!(
        (empty.out.as_str(), empty.err),
        ("", format!("No resources found in {} namespace.\n", stage.namespace))
    );
    assert_eq!(stage.run(&["queue", "-o", "json"]).ends(0).json()["items"], json!([]));

    // All installs of the cluster, ours among them.
    let mut command = plugin(&["pools", "-A", "-o", "json"]);
    command.env("KUBECONFIG", &stage.kubeconfig);
    let all = Ran::of(command).ends(0).json();
    let ours =
        all["items"].as_array().unwrap().iter().filter(|item| item["namespace"] == stage.namespace.name()).count();
    assert_eq!(ours, 2, "{all:#}");
}

#[tokio::test]
async fn a_job_is_joined_to_its_pod_its_agent_and_its_pipeline_run() {
    let stage = Stage::new("jobs").await;
    let pod = stage.job("agent-job-abc-5", 5).await;
    pods::set_pod_running(&stage.client, stage.namespace.name(), &pod).await.unwrap();
    let pod = stage.job("agent-job-abc-7", 7).await;
    pods::set_image_pull_error(&stage.client, stage.namespace.name(), &pod, "x:typo").await.unwrap();
    let ran = stage.run(&["jobs"]).ends(0);
    let cells = |name: &str| {
        let line = ran.out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{}", ran.out));
        line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(cells("NAME"), ["NAME", "POOL", "STATUS", "AGENT", "PIPELINE", "WAITED", "RAN", "AGE"]);
    assert_eq!(cells("agent-job-abc-5")[1..7], ["linux", "Running", "Busy", "Build app", "2m", "24m"]);
    assert_eq!(cells("agent-job-abc-7")[1..4], ["linux", "ImagePullBackOff", "<none>"]);
    let wide = stage.run(&["jobs", "-o", "wide", "-l", "kubectl-ado/request=5"]).ends(0).out;
    assert!(wide.contains("_build/results?buildId=1005") && !wide.contains("abc-7"), "{wide}");
    // Another installation's Job in the same namespace is not ours.
    stage.job("agent-job-xyz-5", 5).await;
    let label = "kubectl-ado/installation=another";
    let kubectl =
        |arguments: &[&str]| stage.plane.kubectl(&[&["-n", stage.namespace.name()], arguments].concat()).unwrap();
    kubectl(&["label", "job", "agent-job-xyz-5", label, "--overwrite"]);
    let unknown = stage.run(&["jobs", "windows"]).ends(1);
    assert!(unknown.err.contains("serves no pool \"windows\""), "{}", unknown.err);
    let names = stage.run(&["jobs", "LINUX", "-o", "name"]).ends(0).out;
    assert_eq!(names, "job.batch/agent-job-abc-5\njob.batch/agent-job-abc-7\n");
    // What is printed as a name can be given to kubectl.
    stage.plane.kubectl(&["-n", stage.namespace.name(), "get", names.lines().next().unwrap()]).unwrap();
    // Without a report there are still the Jobs.
    stage.no_status().await;
    let ran = stage.run(&["jobs"]).ends(0);
    assert!(ran.out.contains("ImagePullBackOff") && ran.err.contains("Warning: ADO507"), "{ran:?}");
    stage.run(&["pools"]).ends(1);
}

#[tokio::test]
async fn a_watch_through_a_pipe_prints_a_line_for_each_change_and_ends_at_an_interrupt() {
    let stage = Stage::new("watch").await;
    let mut status = stage.start(&["status", "-w"]);
    let mut pools = stage.start(&["pools", "-w"]);
    let mut json = stage.start(&["status", "-w", "-o", "json"]);
    status.says("pool linux: Healthy queued=0 starting=0 busy=2 idle=1").await;
    pools.says("Big GPU").await;
    json.says("InstallStatus").await;
    let mut scaling = report();
    linux(&mut scaling).state = PoolState::Scaling;
    linux(&mut scaling).starting = 4;
    stage.play(&scaling).await;
    status.says("pool linux: Scaling queued=0 starting=4 busy=2 idle=1").await;
    pools.says("Scaling").await;
    for watching in [&mut status, &mut pools, &mut json] {
        let (code, took) = watching.interrupt().await;
        assert_eq!(code, Some(130), "{} {}", watching.out(), watching.err());
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    let lines = status.out();
    assert!(lines.lines().all(|line| line.split(' ').next().unwrap().parse::<jiff::Timestamp>().is_ok()), "{lines}");
    assert_eq!(lines.matches("pool Big GPU").count(), 1, "{lines}");
    assert_eq!(pools.out().lines().filter(|line| line.starts_with("Big GPU")).count(), 1, "{}", pools.out());
    let documents = json.out();
    assert!(documents.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{documents}");
}

#[tokio::test]
async fn on_a_terminal_a_watch_is_drawn_over_itself_in_colour() {
    let stage = Stage::new("terminal").await;
    let mut ill = report();
    ill.findings.push(Finding::new(Code::TokenRejected, "401", None));
    stage.play(&ill).await;
    let size = nix::pty::Winsize { ws_row: 30, ws_col: 70, ws_xpixel: 0, ws_ypixel: 0 };
    let shown = |no_color: bool| {
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let mut command = stage.command(&["status", "-w"]);
        command.env("TERM", "xterm").stdout(pty.slave);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let mut child = command.spawn().unwrap();
        // Its end of the terminal is its own from now on.
        drop(command);
        let mut terminal = std::fs::File::from(pty.master);
        let mut shown = String::new();
        let mut buffer = [0; 4096];
        // It is drawn a second time.
        while shown.matches("\u{1b}[H").count() < 2 || !shown.ends_with("\u{1b}[J") {
            let length = terminal.read(&mut buffer).unwrap();
            shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        shown
    };
    let coloured = shown(false);
    assert_eq!(coloured.matches("\u{1b}[2J").count(), 1, "{coloured:?}");
    assert!(coloured.contains("\u{1b}[31mError\u{1b}[0m ADO101"), "{coloured:?}");
    // The head is broken at the terminal's width.
    assert!(coloured.contains("\u{1b}[K\r\n               "), "{coloured:?}");
    let plain = shown(true);
    assert!(plain.contains("Error ADO101") && !plain.contains("\u{1b}[31m"), "{plain:?}");
}

#[tokio::test]
async fn each_way_to_end_has_its_exit_code() {
    let stage = Stage::new("exits").await;
    let mut ill = report();
    ill.findings.push(Finding::new(Code::TokenRejected, "401", None));
    stage.play(&ill).await;
    let commands: [(&[&str], i32); 18] = [
        (&["status"], 3),
        (&["status", "-o", "wide"], 3),
        (&["status", "-o", "json"], 3),
        (&["status", "-o", "yaml"], 3),
        (&["status", "-o", "name"], 2),
        (&["status", "windows"], 1),
        (&["status", "--for", "healthy", "--timeout", "1s"], 4),
        (&["pools"], 0),
        (&["agents", "-o", "yaml"], 0),
        (&["queue"], 0),
        (&["jobs"], 0),
        (&["jobs", "-l", "in valid"], 1),
        (&["explain", "linux"], 3),
        (&["explain", "linux", "-o", "json"], 3),
        (&["explain"], 2),
        (&["pause"], 2),
        (&["pause", "linux", "--until", "yesterday"], 2),
        (&["version", "-o", "json"], 0),
    ];
    for (arguments, code) in commands {
        let ran = stage.run(arguments).ends(code);
        let is_error = matches!(code, 1 | 2 | 4);
        assert_eq!(ran.err.contains("error: "), is_error, "{arguments:?}: {ran:?}");
    }
}

#[tokio::test]
async fn waiting_ends_when_all_is_well_and_else_in_time() {
    let stage = Stage::new("wait").await;
    stage.run(&["status", "--for", "healthy"]).ends(0);
    let busy = stage.run(&["status", "--for", "idle", "--timeout", "1s"]).ends(4);
    assert!(busy.err.contains("error: not idle within 1s: 0 queued, 0 starting, 2 busy"), "{}", busy.err);
    assert!(busy.took < Duration::from_secs(4), "{:?}", busy.took);
    let mut waiting = stage.start(&["status", "linux", "--for", "idle"]);
    waiting.says("waiting: 0 queued").await;
    let mut idle = report();
    (linux(&mut idle).busy, linux(&mut idle).idle) = (0, 3);
    stage.play(&idle).await;
    assert_eq!(waiting.ended().await, Some(0), "{}", waiting.err());
    stage.run(&["status", "--timeout", "1s"]).ends(2);
}

#[tokio::test]
async fn a_pause_is_written_said_and_seen() {
    let stage = Stage::new("pause").await;
    let dry = stage.run(&["pause", "LINUX", "--dry-run=client", "--reason", "release"]).ends(0);
    assert_eq!(dry.out, "pool/linux paused: release (dry run)\n");
    let server = stage.run(&["pause", "linux", "--dry-run=server"]).ends(0);
    assert_eq!(server.out, "pool/linux paused (server dry run)\n");
    let unknown = stage.run(&["pause", "linux", "windows"]).ends(1);
    assert!(unknown.err.contains("no pool \"windows\"; its pools: linux, Big GPU"), "{}", unknown.err);
    let none = stage.run(&["pause"]).ends(2);
    assert!(none.err.contains("name one or more pools, or --all; the pools: linux, Big GPU"), "{}", none.err);
    assert!(stage.plane.kubectl(&["-n", stage.namespace.name(), "get", "configmap", "kubectl-ado-control"]).is_err());

    let mut pause = stage.start(&["pause", "linux", "--reason", "release", "--until", "2h"]);
    pause.says("pool/linux paused until ").await;
    let mut paused = report();
    linux(&mut paused).paused = serde_json::from_value(stage.control().await["pools"]["linux"].clone()).unwrap();
    stage.play(&paused).await;
    assert_eq!(pause.ended().await, Some(0));
    assert_eq!((pause.err().as_str(), &stage.control().await["pools"]["linux"]["reason"]), ("", &json!("release")));

    // Many at once: each is written, whoever is faster.
    let all: Vec<_> = (0..6)
        .map(|number| {
            let pool = ["linux", "Big GPU"][number % 2];
            stage.start(&["pause", pool, "--wait=false", "--reason", &number.to_string()])
        })
        .collect();
    for mut one in all {
        assert_eq!(one.ended().await, Some(0), "{}", one.err());
    }
    let control = stage.control().await;
    assert!(control["pools"]["linux"].is_object() && control["pools"]["Big GPU"].is_object(), "{control:#}");
    let again = stage.run(&["resume", "Big GPU", "--wait=false"]).ends(0);
    assert_eq!(again.out, "pool/Big GPU resumed\n");
    assert_eq!(stage.run(&["resume", "Big GPU", "--wait=false"]).ends(0).out, "pool/Big GPU unchanged\n");
    stage.run(&["pause", "--all", "--wait=false"]).ends(0);
    stage.run(&["resume", "linux", "--wait=false"]).ends(0);
    let control = stage.control().await;
    assert_eq!(control["pools"].as_object().unwrap().keys().collect::<Vec<_>>(), ["Big GPU"], "{control:#}");
    stage.run(&["resume", "--all", "--wait=false"]).ends(0);
    assert_eq!(stage.control().await, json!({}));

    let kubeconfig = stage.account("looks-only", &["list deployments.apps,configmaps,leases"]).await;
    let mut command = plugin(&["pause", "linux", "-n", stage.namespace.name()]);
    command.env("KUBECONFIG", kubeconfig);
    let forbidden = Ran::of(command).ends(1);
    assert!(
        forbidden.err.contains("cannot get the ConfigMap") && forbidden.err.contains("\nfix: "),
        "{}",
        forbidden.err
    );
}

#[tokio::test]
async fn versions_are_compared_and_need_no_cluster() {
    let stage = Stage::new("version").await;
    let same = stage.run(&["version"]).ends(0);
    let expected = format!("kubectl-ado {VERSION}\norchestrator {VERSION} ({}/kubectl-ado)\n", stage.namespace);
    assert_eq!((same.out, same.err.as_str()), (expected, ""));
    let mut other = report();
    other.orchestrator.version = "9.9.9".to_owned();
    stage.play(&other).await;
    let differ = stage.run(&["version", "-o", "json"]).ends(0);
    assert_eq!((&differ.json()["differ"], &differ.json()["orchestrator"]["version"]), (&json!(true), &json!("9.9.9")));
    assert!(differ.err.starts_with("note: ADO506"), "{}", differ.err);
    let client = Ran::of(plugin(&["version", "--client"])).ends(0);
    assert_eq!((client.out, client.err.as_str()), (format!("kubectl-ado {VERSION}\n"), ""));
    let alone = Ran::of(plugin(&["version"])).ends(0);
    assert!(alone.err.starts_with("note: the orchestrator's version is not known: "), "{}", alone.err);
}

/// A server that accepts and says nothing, and a port that nobody listens on.
#[test]
fn a_cluster_that_does_not_answer_ends_each_command_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [silent.local_addr().unwrap(), closed.local_addr().unwrap()];
    drop(closed);
    let folder = tempfile::tempdir().unwrap();
    for address in addresses {
        let kubeconfig = folder.path().join(address.port().to_string());
        FakeApi::write_kubeconfig(&kubeconfig, &format!("http://{address}"));
        let commands: [(&[&str], i32); 11] = [
            (&["status"], 1),
            (&["status", "-w"], 1),
            (&["status", "--for", "healthy", "--timeout", "1s"], 4),
            (&["pools"], 1),
            (&["agents", "-w"], 1),
            (&["jobs", "-A"], 1),
            (&["queue"], 1),
            (&["explain", "7"], 1),
            (&["logs", "-f"], 1),
            (&["pause", "--all"], 1),
            (&["version"], 0),
        ];
        for (arguments, code) in commands {
            let mut command = plugin(&[arguments, &["--request-timeout", "1s"]].concat());
            command.env("KUBECONFIG", &kubeconfig);
            let ran = Ran::of(command).ends(code);
            assert!(ran.took < Duration::from_secs(3), "{arguments:?} took {:?}", ran.took);
            assert!(!ran.err.is_empty() && ran.out.len() < 100, "{arguments:?}: {ran:?}");
            assert_eq!(ran.err.contains("fix: `kubectl version` has to reach"), code == 1, "{arguments:?}: {ran:?}");
        }
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let stage = Stage::new("pipe").await;
    for arguments in [["status"].as_slice(), &["pools"], &["status", "-o", "json"], &["explain", "linux"], &["version"]]
    {
        let mut child = stage.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
    let mut child = plugin(&["explain", "ADO101"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn verbosity_tells_of_requests_and_never_of_credentials() {
    let stage = Stage::new("verbose").await;
    let kubeconfig = stage.account("teller", &["list deployments.apps,configmaps,leases"]).await;
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let token = text.split("\"token\"").nth(1).or_else(|| text.split("token:").nth(1)).unwrap();
    let token: String =
        token.chars().skip_while(|c| !c.is_alphanumeric()).take_while(|c| !c.is_whitespace() && *c != '"').collect();
    assert!(token.len() > 100, "{token}");
    for (level, says, says_not) in [
        ("0", "", "namespaces/"),
        ("4", "list the Leases", "/apis/"),
        ("6", "/configmaps?", "zzz"),
        ("8", "/configmaps?", "zzz"),
    ] {
        let mut command = plugin(&["status", "-v", level, "-n", stage.namespace.name()]);
        command.env("KUBECONFIG", &kubeconfig);
        let ran = Ran::of(command).ends(0);
        assert!(ran.err.contains(says) && !ran.err.contains(says_not), "-v {level}: {}", ran.err);
        assert!(!ran.err.contains(&token[..40]) && !ran.err.to_lowercase().contains("bearer"), "-v {level}");
        assert!(!ran.out.contains(&token[..40]));
    }
}

#[test]
fn help_is_there_at_once() {
    let best = (0..10).map(|_| Ran::of(plugin(&["--help"])).ends(0).took).min().unwrap();
    assert!(best < Duration::from_millis(20), "{best:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_those_of_the_orchestrator_a_job_a_pool_or_a_request() {
    let api = FakeApi::start().await;
    api.pod("kubectl-ado-1-a", "orchestrator", "running", "first\nsecond\n");
    let ran = api.run(&["logs", "--tail", "5", "--since", "1h"]).ends(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("first\nsecond\n", ""));
    let asked = api.asked().pop().unwrap();
    assert!(
        asked.contains("container=orchestrator")
            && asked.contains("tailLines=5")
            && asked.contains("sinceSeconds=3600"),
        "{asked}"
    );
    api.pod("kubectl-ado-1-b", "orchestrator", "running", "third\n");
    let ran = api.run(&["logs"]).ends(0);
    assert_eq!(ran.out, "[kubectl-ado-1-a] first\n[kubectl-ado-1-a] second\n[kubectl-ado-1-b] third\n");

    api.pod("agent-job-1-x", "agent", "ended", "built\n");
    assert_eq!(api.run(&["logs", "agent-job-1"]).ends(0).out, "built\n");
    assert_eq!(api.run(&["logs", "agent-job-1", "-f"]).ends(0).out, "built\n");
    api.run(&["logs", "agent-job-1", "-p"]).ends(0);
    assert!(api.asked().pop().unwrap().contains("previous=true"));
    api.pod("agent-job-2-x", "agent", "ErrImagePull", "");
    let waiting = api.run(&["logs", "agent-job-2"]).ends(1);
    assert_eq!(waiting.err, "agent-job-2-x: no log yet: ErrImagePull: not found\n");
    let pool = api.run(&["logs", "--pool", "linux"]).ends(0);
    assert_eq!((pool.out.as_str(), pool.err.contains("no log yet")), ("[agent-job-1-x] built\n", true));
    assert_eq!(api.run(&["logs", "--request", "1"]).ends(0).out, "built\n");
    let none = api.run(&["logs", "agent-job-9"]).ends(1);
    assert!(none.err.contains("there is no Job \"agent-job-9\""), "{}", none.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_any_bytes_is_printed_as_it_was() {
    let api = FakeApi::start().await;
    let log: &[u8] = b"Gr\xf6\xdfe\n\xff\0 last";
    api.pod("agent-job-1-x", "agent", "ended", log);
    let output = api.command(&["logs", "agent-job-1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, [log, b"\n"].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_goes_on_with_agents_that_come_later() {
    let api = FakeApi::start().await;
    let mut following = Playing::of(api.command(&["logs", "--pool", "linux", "-f"]));
    following.says("pool \"linux\" has no pod yet").await;
    api.pod("agent-job-1-x", "agent", "running", "one\n");
    following.says("one\n").await;
    api.say("agent-job-1-x", "two\n");
    following.says("two\n").await;
    api.pod("agent-job-2-x", "agent", "ErrImagePull", "");
    following.says("agent-job-2-x: no log yet: ErrImagePull").await;
    api.pod("agent-job-2-x", "agent", "running", "three\n");
    following.says("[agent-job-2-x] three\n").await;
    let began = Instant::now();
    assert_eq!(following.interrupt().await.0, Some(130));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(following.out(), "one\ntwo\n[agent-job-2-x] three\n");
    let _ = std::io::stdout().flush();
}
