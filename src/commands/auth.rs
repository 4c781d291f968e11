//! `auth`: a new token is tried before it takes the place of the old one. It is never shown, and never read back: the
//! right to change one Secret is enough.

use std::{io::Write, path::PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{
    Exit, Failure,
    check::{CheckResult, Outcome, Target, azure_devops, newest_report, table},
    cluster_flags::ClusterFlags,
    installed::{Installed, token_secret},
    token_input::TokenFlags,
};
use crate::{
    cluster::{Cluster, ErrorKind, Install},
    config::{Authentication, SecretKey, TokenSource},
};

const MANAGER: &str = "kubectl-ado";

/// Set and test the token for Azure DevOps
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AuthCommand {
    Set(SetArgs),
    Test(TestArgs),
}

/// Replace the orchestrator's token, once the new one has been tried
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The token is read from --pat-file, else from ADO_PAT, else asked for. It is tried against the organization and each
agent pool of the configuration first; one that does not work leaves the old one in its place. The orchestrator takes
the new one within two minutes; no restart is needed. Needs `patch` and `create` on the one Secret, and never reads it.

Examples:
  kubectl ado auth set --pat-file token.txt
  pass show ado/pat | kubectl ado auth set --pat-file -")]
struct SetArgs {
    #[command(flatten)]
    input: Input,
}

/// Try a token, or say what the orchestrator says of its own
#[derive(Debug, clap::Args)]
struct TestArgs {
    #[command(flatten)]
    input: Input,
}

#[derive(Debug, clap::Args)]
struct Input {
    #[command(flatten)]
    token: TokenFlags,
    /// The organization's URL [default: that of the install]
    #[arg(long, value_name = "URL")]
    org: Option<String>,
    /// The agent pools to try it with, separated by commas [default: those of the install]
    #[arg(long = "pool", value_name = "POOL", value_delimiter = ',')]
    pools: Vec<String>,
    /// Certificate authorities to trust beside the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        match self.command {
            AuthCommand::Set(args) => args.input.set().await,
            AuthCommand::Test(args) => args.input.test().await,
        }
    }
}

impl Input {
    async fn set(self) -> Result<Exit, Failure> {
        let token = self.token.given_or_asked()?;
        let cluster = self.cluster.open()?;
        let install = self.cluster.installed(&cluster).await?;
        if let Ok(config) = Installed::read(&cluster, &install).await.and_then(|installed| installed.valid())
            && matches!(config.organization.authentication, Authentication::Entra)
        {
            let fix = "kubectl ado upgrade --pat-file FILE, if a token is what you want";
            let message = "the orchestrator signs in with Entra and reads no token";
            return Err(Failure::new(Exit::Usage, message, Some(fix.to_owned())));
        }
        // A file is read once: what was tried is what is stored.
        let token = TokenSource::Value(token.current().map_err(|message| Failure::new(Exit::Usage, message, None))?);
        let results = azure_devops(&self.target(&cluster, Some(&install), token.clone()).await?).await;
        let bad: Vec<_> = results.iter().filter(|result| result.outcome == Outcome::Error).collect();
        if !bad.is_empty() {
            let cause = |result: &&CheckResult| {
                let code = result.code.map(|code| format!(" ({code})")).unwrap_or_default();
                let evidence = result.evidence.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
                (scrubbed(&format!("{}{evidence}{code}", result.message), &token), result.fix.clone())
            };
            let mut causes: Vec<_> = bad.iter().map(cause).collect();
            causes.push(("the new token was not stored; the old one stays".to_owned(), None));
            return Err(Failure { exit: Exit::Bad, causes });
        }
        let secret = token_secret(&install);
        let verb = store(&cluster, &install, &secret, &token).await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "secret/{} {verb}", secret.name)?;
        writeln!(
            std::io::stderr().lock(),
            "the token works; the orchestrator takes it within two minutes, without a restart"
        )?;
        Ok(Exit::Done)
    }

    async fn test(self) -> Result<Exit, Failure> {
        let cluster = self.cluster.open()?;
        let results = match self.token.given()? {
            Some(token) => {
                let known = self.org.is_some() && !self.pools.is_empty();
                let install = if known { None } else { Some(self.cluster.installed(&cluster).await?) };
                azure_devops(&self.target(&cluster, install.as_ref(), token).await?).await
            }
            None => {
                let install = self.cluster.installed(&cluster).await?;
                let report = newest_report(&cluster, &install.agents_namespace).await?;
                let note = "no token was given, so this is what the orchestrator says of its own (--pat-file tries another one)";
                writeln!(std::io::stderr().lock(), "{note}")?;
                super::check::from_status(report.as_ref(), Timestamp::now())
            }
        };
        let mut out = std::io::stdout().lock();
        table(&mut out, &results)?;
        let failed = results.iter().any(|result| result.outcome == Outcome::Error);
        let unknown = !results.iter().any(|result| result.outcome >= Outcome::Ok);
        Ok(if failed || unknown { Exit::Bad } else { Exit::Done })
    }

    /// What the token is tried with: flags, and the install's configuration for what they leave out.
    async fn target(
        &self,
        cluster: &Cluster,
        install: Option<&Install>,
        token: TokenSource,
    ) -> Result<Target, Failure> {
        let config = match install {
            Some(install) if self.org.is_none() || self.pools.is_empty() => {
                let config = match Installed::read(cluster, install).await {
                    Ok(installed) => installed.valid(),
                    Err(failure) => Err(failure),
                };
                Some(config.map_err(|mut failure| {
                    let fix = "name the organization and its pools with --org and --pool";
                    failure.causes.push((
                        "the configuration does not tell what to try the token with".to_owned(),
                        Some(fix.to_owned()),
                    ));
                    failure
                })?)
            }
            _ => None,
        };
        let of_config = config.as_ref().map(|config| config.organization.url.clone());
        let url =
            self.org.clone().or(of_config).ok_or_else(|| {
                Failure::new(Exit::Usage, "which organization?", Some("name it with --org".to_owned()))
            })?;
        let pools = match &config {
            Some(config) if self.pools.is_empty() => config.pools.iter().map(|pool| pool.name.clone()).collect(),
            _ => self.pools.clone(),
        };
        Ok(Target {
            url,
            pools,
            token: Some(token.into()),
            by_entra: false,
            ca_file: self.ca_file.clone(),
            before: true,
            deep: false,
            in_cluster: true,
        })
    }
}

/// A text without the token, should anybody have repeated it.
fn scrubbed(text: &str, token: &TokenSource) -> String {
    match token.current() {
        Ok(token) => text.replace(token.expose_secret(), "***"),
        Err(_) => text.to_owned(),
    }
}

/// Puts the token into the Secret; what else is in it stays.
async fn store(
    cluster: &Cluster,
    install: &Install,
    secret: &SecretKey,
    token: &TokenSource,
) -> Result<&'static str, Failure> {
    let token = token.current().map_err(|message| Failure::new(Exit::Usage, message, None))?;
    let value = BASE64_STANDARD.encode(token.expose_secret());
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), &install.namespace);
    let SecretKey { name, key } = secret;
    let patch = Patch::Merge(json!({"data": {key.as_str(): value}}));
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let what = format!("patch the Secret \"{name}\" in namespace \"{}\"", install.namespace);
    match cluster.call(&what, api.patch_metadata(name, &parameters, &patch)).await {
        Ok(_) => return Ok("configured"),
        Err(error) if error.kind == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let labels = ["name", "part-of"].map(|label| (format!("app.kubernetes.io/{label}"), json!(MANAGER)));
    let labels: serde_json::Map<String, serde_json::Value> = labels.into_iter().collect();
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "data": {key.as_str(): value},
    });
    let object: Secret =
        serde_json::from_value(object).map_err(|error| Failure::new(Exit::Failed, error.to_string(), None))?;
    let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let what = format!("create the Secret \"{name}\" in namespace \"{}\"", install.namespace);
    cluster.call(&what, api.create(&parameters, &object)).await?;
    Ok("created")
}
