//! What an agent gets, and what it does not.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path};

use super::*;

fn strings(path: impl AsRef<Path>) -> Vec<String> {
    let bytes = fs::read(path).unwrap();
    bytes.split(|&byte| byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

#[tokio::test]
async fn the_environment_holds_what_the_agent_needs_and_nothing_of_ours() {
    // cargo sets this for every test: it stands for all that must not leak.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let place = Place::new();
    let host = place.host("env -0 >out; mv out all; sleep 1000");
    host.start(&request(NAME)).await.unwrap();
    let here = place.run(NAME);
    let all = here.join("agent/all");
    eventually("the environment", || all.exists().then_some(())).await;
    let entries = strings(all);
    let mut all: BTreeMap<_, _> = entries.iter().filter_map(|entry| entry.split_once('=')).collect();

    let path = |part: &str| here.join(part).to_str().unwrap().to_owned();
    let executable = std::env::current_exe().unwrap();
    for (name, value) in [
        ("AZP_URL", URL),
        ("AZP_POOL", "Linux Builds"),
        ("AZP_AGENT_NAME", NAME),
        ("AZP_TOKEN_FILE", &path("token")),
        ("AZP_AGENT_ROOT", &path("agent")),
        ("AZP_WORK", &path("agent/_work")),
        ("HOME", &path("home")),
        ("TMPDIR", &path("tmp")),
        ("PWD", &path("agent")),
        ("KUBECTL_ADO", executable.to_str().unwrap()),
        ("KUBECTL_ADO_INSTALLATION", "ours"),
        ("PATH", &std::env::var("PATH").unwrap()),
    ] {
        assert_eq!(all.remove(name), Some(value), "{name}");
    }
    let allowed = [
        "LANG",
        "LC_ALL",
        "TZ",
        "USER",
        "LOGNAME",
        "VSO_AGENT_IGNORE",
        "SHLVL",
        "_",
        "OLDPWD",
        "TARGETARCH",
        "AGENT_ALLOW_RUNASROOT",
        "ADO_CA_FILE",
        "CURL_CA_BUNDLE",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ];
    all.retain(|name, _| !allowed.contains(name) && !name.to_uppercase().ends_with("_PROXY"));
    assert_eq!(all, BTreeMap::new());
}

#[tokio::test]
async fn the_token_is_in_a_file_that_only_we_can_read_and_nowhere_else() {
    let place = Place::new();
    let host = place.host("cat \"$AZP_TOKEN_FILE\" >seen; echo started; sleep 1000");
    host.start(&request(NAME)).await.unwrap();
    logged(&host, NAME, "started").await;
    assert_eq!(fs::read_to_string(place.run(NAME).join("agent/seen")).unwrap(), TOKEN);

    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.run(NAME).join("token")), 0o600);
    for path in [place.path(), place.path().join("runs"), place.path().join("logs"), place.run(NAME)] {
        assert_eq!(mode(path), 0o700);
    }
    let all = || Some(processes(&host, NAME)).filter(|all| all.len() >= 3);
    let all = eventually("the frame, the script and its sleep", all).await;
    for pid in all {
        for file in ["environ", "cmdline"] {
            let text = strings(format!("/proc/{pid}/{file}"));
            assert!(!text.iter().any(|text| text.contains(TOKEN)), "{pid}: {text:?}");
        }
    }
    for file in ["run.json", "process", "start.sh"] {
        assert!(!fs::read_to_string(place.run(NAME).join(file)).unwrap().contains(TOKEN), "{file}");
    }
    host.stop(NAME, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_token_that_cannot_be_had_starts_nothing() {
    let place = Place::new();
    let host = place.host_with("exit 0", "ours", TokenSource::File("/nowhere/token".into()));
    let error = host.start(&request(NAME)).await.unwrap_err();
    assert_eq!(error.reason(), "credential");
    assert!(error.to_string().contains("/nowhere/token"), "{error}");
    assert!(!place.run(NAME).exists());
}

#[tokio::test]
async fn a_token_that_changes_reaches_the_agents_that_run() {
    let place = Place::new();
    let file = place.folder.path().join("token");
    fs::write(&file, "old\n").unwrap();
    let host = place.host_with(UNTIL_GO, "ours", TokenSource::File(file.clone()));
    host.start(&request(NAME)).await.unwrap();
    let token = || fs::read_to_string(place.run(NAME).join("token")).unwrap();
    assert_eq!(token(), "old");
    fs::write(&file, "new\n").unwrap();
    host.tidy(&host.runs().await.unwrap()).await.unwrap();
    assert_eq!(token(), "new");
}

#[tokio::test]
async fn the_agents_own_script_is_what_runs() {
    let place = Place::new();
    let config = LocalConfig { folder: place.path() };
    let token = TokenSource::Value(TOKEN.into());
    let host = LocalHost::open(&config, "ftp://contoso", token, Installation::new("ours"), place.retention).unwrap();
    host.start(&request(NAME)).await.unwrap();
    assert!(reason(&ended(&host, NAME).await).starts_with("exit code 2;"));
    let log = fs::read_to_string(host.log(NAME)).unwrap();
    assert!(log.starts_with("error: AZP_URL is not a URL: ftp://contoso"), "{log}");
}
