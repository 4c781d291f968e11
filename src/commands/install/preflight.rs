//! What is tried before anything is changed: the checks of `check --pre`, with what is about to be installed.

use std::io::Write;

use super::{
    super::{
        Exit, Failure,
        check::{ClusterTarget, Outcome, Summary, Target, before_install, job_of},
        installed,
    },
    Options,
    existing::Existing,
    say,
    settings::Settings,
    token::Token,
};
use crate::{
    cluster::{Account, Cluster},
    config::{Environment, TokenSource},
};

/// Makes all checks. What is wrong is told at once; what somebody should look at is told and holds up nothing.
pub(super) async fn check(
    options: &Options,
    cluster: &Cluster,
    settings: &Settings,
    token: &Token,
    existing: &Existing,
) -> Result<(), Failure> {
    let config = &settings.config;
    // Private authorities of this machine; those of the pod may lie elsewhere.
    let environment = Environment::of_this_process();
    let authorities = environment.get("ADO_CA_FILE").or(environment.get("SSL_CERT_FILE")).map(Into::into);
    // Those that the configuration brings along are trusted here too.
    let brought = settings.authorities.as_ref().map(|text| brought(text)).transpose()?;
    let authorities = authorities.or_else(|| brought.as_ref().map(|file| file.path().to_owned()));
    let target = Target {
        url: config.organization.url.clone(),
        pools: config.pools.iter().map(|pool| pool.name.clone()).collect(),
        token: token.value.clone().map(|token| TokenSource::Value(token).into()),
        by_entra: token.secret.is_none(),
        ca_file: authorities,
        before: true,
        deep: false,
        in_cluster: true,
    };
    let job = if settings.documents.is_empty() {
        job_of(config, &settings.agents_namespace)
    } else {
        Err("it may need what goes along with its template, which is not there yet".to_owned())
    };
    let of_cluster = ClusterTarget {
        cluster,
        flags: &options.cluster,
        namespace: &existing.namespace,
        agents_namespace: &settings.agents_namespace,
        account: Account { namespace: existing.namespace.clone(), name: installed::ACCOUNT.to_owned() },
        installed: existing.install.is_some(),
        by_install: true,
        job,
    };
    let results = before_install(&target, &of_cluster).await;
    let mut failure = Failure { exit: Exit::Failed, causes: Vec::new() };
    for result in &results {
        let code = result.code.map(|code| format!(" ({code})")).unwrap_or_default();
        let evidence = result.evidence.as_ref().map(|evidence| format!(": {evidence}")).unwrap_or_default();
        let message = format!("{}{evidence}{code}", result.message);
        match result.outcome {
            Outcome::Error => failure.causes.push((message, result.fix.clone())),
            Outcome::Warning => {
                say(format!("warning: {message}"));
                result.fix.iter().for_each(|fix| say(format!("fix: {fix}")));
            }
            Outcome::Ok if result.check == "pool" => say(&result.message),
            Outcome::Skipped | Outcome::Ok | Outcome::Info => {}
        }
    }
    say(format!("checks: {}", Summary::of(&results)));
    if failure.causes.is_empty() {
        return Ok(());
    }
    say("nothing was changed; --skip-checks leaves the checks out");
    Err(failure)
}

/// The private authorities in a file, for as long as the checks take.
fn brought(text: &str) -> Result<tempfile::NamedTempFile, Failure> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}
