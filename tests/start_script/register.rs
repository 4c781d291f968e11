//! Registering for a container that has no token.

use std::fs;

use crate::stage::{Stage, ended, mode, names};

fn register(stage: &Stage) -> std::process::Command {
    let mut script = stage.with_token();
    script.env("AZP_REGISTER_ONLY", "1").env("AZP_AGENT_FILES", stage.files());
    script
}

const REMOVE: &str = "config.sh remove --unattended --auth PAT (token: s3cr3t)";

#[test]
fn what_was_registered_is_left_for_the_agents_container_which_runs_without_a_token() {
    let stage = Stage::new("done");
    let end = ended(register(&stage));
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(stage.calls().len(), 1, "registered, and neither run nor taken back");
    let files = stage.files();
    assert!(
        end.output.ends_with(&format!("agent: a-1 is registered; its files are in {}\n", files.display())),
        "{end:?}"
    );
    assert_eq!(names(&files), [".agent", ".certificates", ".credentials", ".credentials_rsaparams"]);
    for name in names(&files) {
        assert_eq!(mode(files.join(&name)), 0o600, "{name}");
        assert!(!fs::read_to_string(files.join(&name)).unwrap().contains("s3cr3t"));
    }

    let container = Stage::new("done");
    let mut script = container.script();
    script.env("AZP_AGENT_FILES", &files);
    let end = ended(script);
    assert_eq!((end.code, container.calls()), (Some(0), vec!["run.sh --once".to_owned()]), "{end:?}");
    assert_eq!(container.read(".credentials_rsaparams"), "key\n");
    assert_eq!(container.read(".certificates"), "{\"by\":\"config.sh\"}\n");
}

#[test]
fn private_authorities_are_handed_on() {
    let stage = Stage::new("done");
    stage.lay(&[("private.pem", "PEM")]);
    let mut script = register(&stage);
    script.env("AZP_CA_FILE", stage.files().join("private.pem"));
    let end = ended(script);
    assert_eq!(end.code, Some(0), "{end:?}");

    let container = Stage::new("done");
    let mut script = container.script();
    script.env("AZP_AGENT_FILES", stage.files());
    assert_eq!(ended(script).code, Some(0));
    let authority = container.root().join("ca.pem");
    assert_eq!(fs::read_to_string(&authority).unwrap(), "PEM");
    assert!(container.read(".certificates").contains(authority.to_str().unwrap()));
}

#[test]
fn a_registration_that_cannot_be_handed_on_is_taken_back() {
    let stage = Stage::new("half");
    let end = ended(register(&stage));
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.errors.contains("error: cannot copy .credentials to "), "{end:?}");
    assert_eq!(stage.calls()[1..], [REMOVE]);
}

#[test]
fn where_nothing_was_registered_nothing_is_taken_back() {
    let stage = Stage::new("refused");
    let end = ended(register(&stage));
    assert_eq!(end.code, Some(1));
    assert!(
        end.errors.starts_with("error: cannot register a-1 in pool Linux of http://127.0.0.1:9/contoso"),
        "{end:?}"
    );
    assert_eq!((stage.calls().len(), names(&stage.files()).len()), (1, 0));
}

#[test]
fn a_folder_to_hand_on_by_is_asked_for_before_anything_is_registered() {
    let stage = Stage::new("done");
    let mut script = register(&stage);
    script.env_remove("AZP_AGENT_FILES");
    let end = ended(script);
    assert_eq!((end.code, stage.calls()), (Some(2), Vec::new()));
    assert!(end.errors.contains("; fix: set AZP_AGENT_FILES to a volume that"), "{end:?}");
}
