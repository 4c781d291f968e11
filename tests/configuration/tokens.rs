//! A token is never shown, however it came in and whatever else is wrong.

use kubectl_ado::config::{Authentication, Config, Environment};
use proptest::prelude::*;
use secrecy::ExposeSecret;

use crate::{Folder, least_and};

/// Everything that could be printed of a configuration.
fn all_that_is_said(environment: &Environment, folder: &Folder) -> String {
    let file = folder.path("ado.yaml");
    let result = Config::load(environment, file.exists().then_some(file.as_path()));
    match &result {
        Ok(config) => format!("{environment:?}{config:?}{config:#?}{}", config.warnings.join("\n")),
        Err(errors) => format!("{environment:?}{errors:?}{errors}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_token_is_never_shown_whichever_variable_it_stands_in(
        token in "[a-z0-9]{52}|[A-Za-z0-9]{84}|eyJ[A-Za-z0-9_-]{60}\\.[A-Za-z0-9]{60}\\.[A-Za-z0-9]{50}",
        variable in prop::sample::select(vec![
            "ORG_PAT_FILE", "ORG_URL", "POLLING_DELAY", "RUN_ONCE", "JOB_OS", "HOST_TYPE", "JOB_TOKEN_SECRET",
            "MINIMUM_AGENT_COUNT", "ADO_CA_FILE", "JOB_DEFINITION_FILE", "LISTEN_ADDRESS", "INITIALIZE_NAMESPACE",
            "JOB_DOCKER_SOCKET_PATH", "ORG_PATFILE", "UNRELATED",
        ]),
        also_as_token: bool,
    ) {
        let folder = Folder::with(&[]);
        let org_pat = if also_as_token { token.as_str() } else { "" };
        let said = all_that_is_said(&least_and(&[("ORG_PAT", org_pat), (variable, &token)]), &folder);
        prop_assert!(!said.contains(&token), "{said}");
    }

    #[test]
    fn a_token_in_a_url_is_never_shown(token in "[a-z0-9]{52}|[A-Za-z0-9]{84}", form in 0..6_usize) {
        let url = [
            format!("https://user:{token}@dev.azure.com/contoso"),
            format!("https://{token}@dev.azure.com/contoso"),
            format!("{token}@dev.azure.com/contoso"),
            format!("https://dev.azure.com/contoso?pat={token}"),
            format!("https://dev.azure.com/contoso#{token}"),
            format!("https://tfs.example/{token}/_git"),
        ][form].clone();
        let said = all_that_is_said(&least_and(&[("ORG_URL", &url)]), &Folder::with(&[]));
        prop_assert!(!said.contains(&token), "{said}");
    }

    #[test]
    fn a_token_in_a_file_is_never_shown(token in "[a-z0-9]{52}|[A-Za-z0-9]{84}", form in 0..9_usize) {
        let text = [
            format!("organization: {{token: {token}}}\n"),
            format!("organization: {{tokenFile: {token}}}\n"),
            format!("organization: {token}\n"),
            format!("{token}: a\n"),
            format!("runOnce: {token}\n"),
            format!("defaults: {{startTimeout: {token}}}\n"),
            format!("limits: {{maxAgents: {token}}}\n"),
            format!("a: *{token}\n"),
            format!("a: !{token} [\n"),
        ][form].clone();
        let said = all_that_is_said(&least_and(&[]), &Folder::with(&[("ado.yaml", &text)]));
        prop_assert!(!said.contains(&token), "{said}");
    }
}

#[test]
fn a_token_in_a_job_template_is_never_shown() {
    let token = "xxxqhugutbqvpoxxxicdab2ojaipkw6kexxxau57bybmvksp5jpq";
    let path = "tests/fixtures/original/job-with-limits.yaml";
    let said = all_that_is_said(&least_and(&[("JOB_DEFINITION_FILE", path)]), &Folder::with(&[]));
    assert!(said.contains("AZP_TOKEN") || said.contains("token in clear"), "{said}");
    assert!(!said.contains(token), "{said}");
}

#[test]
fn a_new_line_after_a_token_is_no_part_of_it() {
    let config = Config::load(&least_and(&[("ORG_PAT", "abc\n")]), None).unwrap();
    let Authentication::Pat(token) = &config.organization.authentication else { panic!("another way to sign in") };
    assert_eq!(token.current().unwrap().expose_secret(), "abc");
}
