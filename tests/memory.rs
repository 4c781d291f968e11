//! The memory of `serve` beside agents as they really are: each shows its whole environment as its capabilities.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

const AGENTS: usize = 1000;
const CAPABILITIES: usize = 100;

/// Of its own, so without the program itself, which is twice as large in a debug build: with 12 MiB of that, less than 40.
const LIMIT_KIB: u64 = 28 * 1024;

/// More than one, so that an answer is read while the one before is in use.
const LOOKS: usize = 5;

const PATIENCE: Duration = Duration::from_secs(120);

/// An agent with 6.5 kB of capabilities.
fn agent(number: usize) -> Value {
    let capability = |index| {
        let name = format!("ENVIRONMENT_VARIABLE_{index:03}");
        (name, Value::from(format!("/opt/hostedtoolcache/{number:05}/{index:03}/bin:/usr")))
    };
    let capabilities: Map<String, Value> = (0..CAPABILITIES).map(capability).collect();
    json!({"id": number, "name": format!("agent-{number}"), "status": "online", "enabled": true,
           "createdOn": "2026-01-01T00:00:00Z", "systemCapabilities": capabilities})
}

/// Answers one connection after the other, and counts how often it was asked for the agents.
fn serve_organization(listener: &TcpListener, asked: &Arc<AtomicUsize>) {
    let agents: Vec<Value> = (1..=AGENTS).map(agent).collect();
    let agents = json!({"count": AGENTS, "value": agents}).to_string();
    let requests = json!([{"requestId": 1, "demands": ["Agent.Name -equals somebody"]}]).to_string();
    for connection in listener.incoming().flatten() {
        let (agents, requests, asked) = (agents.clone(), requests.clone(), Arc::clone(asked));
        thread::spawn(move || {
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                let mut length = 0;
                for header in lines.by_ref().map_while(Result::ok).take_while(|header| !header.is_empty()) {
                    if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let (status, body) = match line.split(['?', ' ']).nth(1).unwrap_or_default() {
                    _ if length > 0 || !line.starts_with("GET") => {
                        ("403 Forbidden", r#"{"typeKey":"AccessDeniedException"}"#)
                    }
                    path if path.ends_with("/pools") => ("200 OK", r#"{"count":1,"value":[{"id":1,"name":"Linux"}]}"#),
                    path if path.ends_with("/jobrequests") => ("200 OK", requests.as_str()),
                    path if path.ends_with("/agents") => {
                        asked.fetch_add(1, Ordering::SeqCst);
                        ("200 OK", agents.as_str())
                    }
                    _ => ("404 Not Found", "{}"),
                };
                // A change is answered without its body being read, so that connection ends.
                let end = if length > 0 { "Connection: close\r\n" } else { "" };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{end}Content-Length: {}\r\n\r\n",
                    body.len()
                );
                let mut out = &connection;
                if out.write_all(head.as_bytes()).and_then(|()| out.write_all(body.as_bytes())).is_err() || length > 0 {
                    return;
                }
            }
        });
    }
}

struct Serve(Child);

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What it holds of its own, in KiB.
fn own_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_thousand_agents_of_a_hundred_capabilities_fit_into_the_manifests_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/contoso", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    thread::spawn(move || serve_organization(&listener, &counted));
    let folder = tempfile::tempdir().unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
    serve.args(["serve", "--log-format", "json"]).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    for (name, value) in [
        ("HOST_TYPE", "local"),
        ("ORG_URL", &url),
        ("ORG_PAT", "0123456789abcdef"),
        ("AGENT_POOLS", "Linux"),
        ("MAXIMUM_AGENT_COUNT", "1"),
        ("AGENT_FOLDER", folder.path().join("agents").to_str().unwrap()),
        ("LISTEN_ADDRESS", "127.0.0.1:0"),
    ] {
        serve.env(name, value);
    }
    let mut serve = Serve(serve.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    let mut log = BufReader::new(serve.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address: SocketAddr = log
        .find_map(|line| serde_json::from_str::<Value>(&line).ok()?.get("address")?.as_str()?.parse().ok())
        .expect("it says where it listens");
    thread::spawn(move || log.for_each(drop));

    let deadline = Instant::now() + PATIENCE;
    while asked.load(Ordering::SeqCst) < LOOKS {
        assert!(Instant::now() < deadline, "it does not look at the agents: {}", get(address, "/metrics"));
        thread::sleep(Duration::from_millis(50));
    }
    // All of them were read, or there is nothing to measure.
    let state = get(address, "/status");
    assert!(state.contains("agent-7\"") || state.contains("agentsOmitted"), "{state}");
    let memory = own_memory(serve.0.id());
    assert!(memory < LIMIT_KIB, "{memory} KiB of its own");
}
