//! An agent that registers itself.

use std::fs;

use crate::stage::{Stage, ended, mode};

#[test]
fn an_agent_with_a_token_registers_runs_and_takes_its_registration_back() {
    let stage = Stage::new("done");
    let end = ended(stage.with_token());
    assert_eq!(end.code, Some(0), "{end:?}");
    let work = stage.root().join("_work");
    let register = format!(
        "config.sh --unattended --agent a-1 --url http://127.0.0.1:9/contoso --auth PAT --pool Linux --work {} --replace \
         --acceptTeeEula (token: s3cr3t)",
        work.display()
    );
    assert_eq!(stage.calls(), [&register, "run.sh --once", "config.sh remove --unattended --auth PAT (token: s3cr3t)"]);
    assert!(!stage.environment().contains_key("SSL_CERT_FILE"));
}

#[test]
fn without_files_or_a_token_nothing_can_be_done_and_it_says_so() {
    let stage = Stage::new("done");
    let mut script = stage.script();
    script.env("AZP_URL", "http://127.0.0.1:9/contoso");
    let end = ended(script);
    assert_eq!((end.code, stage.calls()), (Some(2), Vec::new()));
    assert!(end.errors.starts_with("error: there is no token; fix: set AZP_TOKEN_FILE"), "{end:?}");
}

#[test]
fn private_authorities_are_told_to_config_sh_and_trusted_besides_the_public_ones() {
    let stage = Stage::new("done");
    stage.lay(&[("private.pem", "-----PRIVATE CA-----\n")]);
    let mut script = stage.with_token();
    script.env("AZP_CA_FILE", stage.files().join("private.pem"));
    let end = ended(script);
    assert_eq!(end.code, Some(0), "{end:?}");
    let authority = stage.root().join("ca.pem");
    assert!(stage.calls()[0].contains(&format!("--acceptTeeEula --sslcacert {} ", authority.display())));
    assert_eq!(mode(&authority), 0o600);
    let environment = stage.environment();
    assert_eq!(environment["NODE_EXTRA_CA_CERTS"], authority.to_str().unwrap());
    assert!(fs::read_to_string(&environment["SSL_CERT_FILE"]).unwrap().ends_with("-----PRIVATE CA-----\n"));
}

#[test]
fn authorities_that_cannot_be_read_are_an_error_before_anything_is_registered() {
    let stage = Stage::new("done");
    let mut script = stage.with_token();
    script.env("AZP_CA_FILE", "/nowhere/ca.pem");
    let end = ended(script);
    assert_eq!((end.code, stage.calls()), (Some(2), Vec::new()));
    assert!(end.errors.starts_with("error: AZP_CA_FILE: /nowhere/ca.pem cannot be read; fix: "), "{end:?}");
}
