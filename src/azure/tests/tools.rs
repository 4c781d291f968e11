//! The developer's tools, played by scripts.

use std::{os::unix::fs::PermissionsExt, path::Path};

use super::*;

fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn tools(folder: &Path, more: &[(&str, &str)]) -> Credential {
    let path = folder.display().to_string();
    let variables = [("AZURE_TOKEN_CREDENTIALS", "dev"), ("PATH", path.as_str())];
    credential(&EntraConfig::of_environment(&variables.into_iter().chain(more.iter().copied()).collect()).unwrap())
}

#[tokio::test]
async fn az_is_asked_without_a_shell_and_away_from_where_we_are() {
    let folder = tempfile::tempdir().unwrap();
    let until = jiff::Timestamp::now().as_second() + 3600;
    let here = folder.path().display();
    script(
        folder.path(),
        "az",
        &format!(
            r#"echo "$PWD $*" > {here}/asked; echo '{{"accessToken": "of-az", "expiresOn": "1999-01-01 00:00:00", "expires_on": {until}}}'"#
        ),
    );
    let token = tools(folder.path(), &[("AZURE_TENANT_ID", "contoso.test")]).token(SCOPE).await.unwrap();
    assert_eq!((text(&token).as_str(), token.link), ("of-az", "AzureCliCredential"));
    assert_eq!(token.expires_at.as_second(), until);
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    let expected = "/ account get-access-token --output json --resource 499b84ac-1321-427f-aa17-267ca6975798 --tenant contoso.test\n";
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn azd_is_next_and_what_each_complains_of_is_told_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln";
    script(
        folder.path(),
        "az",
        &format!("echo \"ERROR: Please run 'az login' to setup account. {secret}\" >&2; exit 1"),
    );
    script(folder.path(), "azd", r#"echo '{"token": "of-azd", "expiresOn": "2099-01-01T00:00:00Z"}'"#);
    assert_eq!(tools(folder.path(), &[]).token(SCOPE).await.unwrap().link, "AzureDeveloperCliCredential");
    script(folder.path(), "azd", "exit 3");
    let error = tools(folder.path(), &[]).token(SCOPE).await.unwrap_err();
    let said: Vec<_> = error.said().iter().map(|said| said.what.as_str()).collect();
    assert_eq!(said[0], "az: Please run 'az login' to setup account. ***");
    assert_eq!(said[1], "azd failed and said nothing (is anybody signed in? azd auth login)");
    script(folder.path(), "az", "echo hello");
    let error = tools(folder.path(), &[]).token(SCOPE).await.unwrap_err();
    assert_eq!(error.said()[0].what, "az printed no token");
}
