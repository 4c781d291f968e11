//! An agent that somebody else has registered.

use std::{fs, os::unix::fs::symlink};

use serde_json::Value;

use crate::stage::{IDENTITY, Stage, ended, mode, names};

#[test]
fn an_agent_with_files_runs_without_a_token_and_takes_no_registration_back() {
    let stage = Stage::new("done");
    stage.lay(&IDENTITY);
    let end = ended(stage.with_files());
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(stage.calls(), ["run.sh --once"]);
    for (name, content) in IDENTITY {
        assert_eq!(stage.read(name), content, "{name}");
        assert_eq!(mode(stage.root().join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_token_that_is_given_all_the_same_reaches_nobody() {
    let stage = Stage::new("idle");
    stage.lay(&IDENTITY);
    let mut script = stage.with_files();
    let token_file = stage.files().join("token");
    fs::write(&token_file, "s3cr3t").unwrap();
    script.env("AZP_TOKEN", "s3cr3t").env("VSTS_AGENT_INPUT_TOKEN", "s3cr3t").env("AZP_TOKEN_FILE", token_file);
    let script = stage.start(script);
    stage.until("listening");
    let environment = stage.environment();
    for name in ["AZP_TOKEN", "AZP_TOKEN_FD", "AZP_TOKEN_FILE", "VSTS_AGENT_INPUT_TOKEN"] {
        assert_eq!(environment.get(name), None);
    }
    let own = fs::read(format!("/proc/{}/environ", script.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&own).contains("s3cr3t"));
    assert!(!names(&stage.root()).iter().any(|name| stage.read(name).contains("s3cr3t")));
    script.terminate();
    assert_eq!(script.code(), Some(143));
}

/// A mounted Secret: each file leads to the folder that `..data` leads to.
#[test]
fn a_mounted_secret_is_copied_through_its_links_and_left_as_it_is() {
    let stage = Stage::new("done");
    let files = stage.files();
    fs::create_dir_all(files.join("..2026_11_24")).unwrap();
    symlink("..2026_11_24", files.join("..data")).unwrap();
    for (name, content) in IDENTITY {
        fs::write(files.join("..2026_11_24").join(name), content).unwrap();
        symlink(format!("..data/{name}"), files.join(name)).unwrap();
    }
    for folder in [files.join("..2026_11_24"), files.clone()] {
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    }
    let before = names(&files);
    let end = ended(stage.with_files());
    assert_eq!(end.code, Some(0), "{end:?}");
    for (name, content) in IDENTITY {
        assert_eq!(stage.read(name), content, "{name}");
        assert_eq!(mode(stage.root().join(name)), 0o600, "{name} is a file, not a link");
    }
    assert_eq!(names(&files), before);
    for folder in [files.clone(), files.join("..2026_11_24")] {
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_file_that_is_missing_is_an_error_that_names_it_and_says_what_to_do() {
    for (missing, _) in IDENTITY {
        let stage = Stage::new("done");
        stage.lay(&IDENTITY);
        fs::remove_file(stage.files().join(missing)).unwrap();
        let end = ended(stage.with_files());
        assert_eq!(end.code, Some(2));
        let path = stage.files().join(missing);
        assert!(end.errors.starts_with(&format!("error: AZP_AGENT_FILES: {} cannot", path.display())), "{end:?}");
        assert!(end.errors.contains("; fix: mount the agent's files there, readable for uid "), "{end:?}");
        assert_eq!((end.errors.lines().count(), stage.calls()), (1, Vec::new()));
    }
}

#[test]
fn what_an_earlier_run_left_in_the_root_is_overwritten() {
    let stage = Stage::new("done");
    stage.lay(&IDENTITY);
    let elsewhere = stage.files().join("elsewhere");
    fs::write(&elsewhere, "somebody else's").unwrap();
    symlink(&elsewhere, stage.root().join(".credentials")).unwrap();
    for name in [".agent", ".credentials_rsaparams"] {
        fs::write(stage.root().join(name), "stale").unwrap();
    }
    let end = ended(stage.with_files());
    assert_eq!((end.code, stage.calls()), (Some(0), vec!["run.sh --once".to_owned()]), "{end:?}");
    for (name, content) in IDENTITY {
        assert_eq!(stage.read(name), content, "{name}");
        assert_eq!(mode(stage.root().join(name)), 0o600, "{name}");
    }
    assert_eq!(fs::read_to_string(elsewhere).unwrap(), "somebody else's");
}

#[test]
fn the_files_may_be_in_the_root_already() {
    let stage = Stage::new("done");
    for (name, content) in IDENTITY {
        fs::write(stage.root().join(name), content).unwrap();
    }
    let mut script = stage.script();
    script.env("AZP_AGENT_FILES", stage.root());
    let end = ended(script);
    assert_eq!(end.code, Some(0), "{end:?}");
    for (name, content) in IDENTITY {
        assert_eq!((stage.read(name).as_str(), mode(stage.root().join(name))), (content, 0o600), "{name}");
    }
}

#[test]
fn a_proxy_and_a_private_authority_are_made_known_to_the_agent_and_to_what_jobs_call() {
    let stage = Stage::new("done");
    stage.lay(&IDENTITY);
    stage.lay(&[(".proxy", "http://proxy:3128"), (".proxybypass", "^corp$"), ("ca.pem", "-----PRIVATE CA-----\n")]);
    let end = ended(stage.with_files());
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!((stage.read(".proxy").as_str(), stage.read(".proxybypass").as_str()), ("http://proxy:3128", "^corp$"));

    let authority = stage.root().join("ca.pem").display().to_string();
    let certificates: Value = serde_json::from_str(&stage.read(".certificates")).unwrap();
    assert_eq!(certificates, serde_json::json!({"skipServerCertValidation": false, "caCert": authority}));
    let environment = stage.environment();
    assert_eq!(environment["NODE_EXTRA_CA_CERTS"], authority);
    assert!(fs::read_to_string(&environment["SSL_CERT_FILE"]).unwrap().ends_with("-----PRIVATE CA-----\n"));
}

#[test]
fn who_has_said_what_to_trust_is_left_alone() {
    let stage = Stage::new("done");
    stage.lay(&IDENTITY);
    stage.lay(&[("ca.pem", "PEM")]);
    let mut script = stage.with_files();
    script.env("NODE_EXTRA_CA_CERTS", "/mine").env("SSL_CERT_FILE", "/mine-too");
    assert_eq!(ended(script).code, Some(0));
    let environment = stage.environment();
    assert_eq!(
        (environment["NODE_EXTRA_CA_CERTS"].as_str(), environment["SSL_CERT_FILE"].as_str()),
        ("/mine", "/mine-too")
    );
}

#[test]
fn a_work_folder_elsewhere_is_told_to_the_agent() {
    let stage = Stage::new("done");
    stage.lay(&IDENTITY);
    let work = stage.files().join("a \"work\" \\ folder");
    let mut script = stage.with_files();
    script.env("AZP_WORK", &work);
    assert_eq!(ended(script).code, Some(0));
    let settings: Value = serde_json::from_str(&stage.read(".agent")).unwrap();
    assert_eq!(settings["workFolder"], work.to_str().unwrap());
    assert_eq!((settings["agentId"].as_i64(), mode(stage.root().join(".agent"))), (Some(57), 0o600));
}

#[test]
fn an_agent_that_updates_itself_keeps_its_files() {
    let stage = Stage::new("update");
    stage.lay(&IDENTITY);
    let end = ended(stage.with_files());
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(stage.calls(), ["run.sh --once", "run.sh --once"]);
    for (name, content) in IDENTITY {
        assert_eq!(stage.read(name), content, "{name}");
    }
}
