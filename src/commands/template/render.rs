//! `template render`: the Job that the orchestrator would make, by the same code.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use serde_json::json;

use super::super::{
    Exit, Failure, check::newest_report, cluster_flags::ClusterFlags, config::read_file, installed::Installed,
};
use crate::{
    cluster::{Cluster, Install},
    config::{Config, Environment, HostConfig, KubernetesConfig},
    core::{Installation, Purpose, RequestId, short_hash},
    hosts::kubernetes::{Rendered, render},
    output::{write_json, write_yaml},
};

/// An organization for Jobs that are made of a file alone.
const SOME_ORGANIZATION: &str = "https://dev.azure.com/ORGANIZATION";

/// Print the Job that the orchestrator would make
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without -f it is the Job of the install's configuration, with -f one of that Job template alone, and no cluster is asked.
The token is shown as the Secret that it is mounted from.

Examples:
  kubectl ado template render -f job.yaml
  kubectl ado template render --pool Linux --request 8812")]
pub(super) struct RenderArgs {
    /// A Job template; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The agent pool [default: the first one]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// The pool's agent template [default: the last one]
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// The number of the job request that the agent is for
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    request: i64,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    cluster: ClusterFlags,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// YAML
    #[default]
    Yaml,
    /// JSON
    Json,
}

impl RenderArgs {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let (config, settings, installation) = match &self.file {
            Some(file) => {
                let namespace = self.cluster.asked_namespace().unwrap_or_else(|| "agents".to_owned());
                let config = config_of(file, self.pool.as_deref())?;
                let settings = kubernetes(&config, &namespace)?;
                (config, settings, Installation::new(short_hash(&["render"], 16)))
            }
            None => {
                let cluster = self.cluster.open()?;
                let install = self.cluster.installed(&cluster).await?;
                let config = Installed::read(&cluster, &install).await?.valid()?;
                let settings = kubernetes(&config, &install.agents_namespace)?;
                let installation = installation(&cluster, &install, &config).await;
                (config, settings, installation)
            }
        };
        let purpose = Purpose::Request(RequestId(self.request));
        let Rendered { job, warnings } =
            rendered(&config, &settings, &installation, self.pool.as_deref(), self.template.as_deref(), purpose)?;
        let mut err = std::io::stderr().lock();
        for warning in config.warnings.iter().chain(&warnings) {
            writeln!(err, "warning: {warning}")?;
        }
        let mut out = std::io::stdout().lock();
        match self.output {
            Format::Yaml => write_yaml(&mut out, &job)?,
            Format::Json => write_json(&mut out, &job)?,
        }
        Ok(Exit::Done)
    }
}

/// The configuration of an install that has this Job template for its only pool.
pub(super) fn config_of(file: &Path, pool: Option<&str>) -> Result<Config, Failure> {
    let (text, _) = read_file(file)?;
    let folder = tempfile::TempDir::new()?;
    std::fs::write(folder.path().join("job.yaml"), &text)?;
    let ado = json!({
        "organization": {"url": SOME_ORGANIZATION},
        "host": "kubernetes",
        "pools": [{"name": pool.unwrap_or("Default"), "templates": [{"name": "default", "jobTemplate": "job.yaml"}]}],
    });
    let name = file.display().to_string();
    // Errors name the file that was given and not the copy.
    let copy = folder.path().join("job.yaml").display().to_string();
    match Config::of_text(&Environment::default(), &ado.to_string(), file, folder.path()) {
        Ok((mut config, _)) => {
            for warning in &mut config.warnings {
                *warning = short(warning, &copy, &name);
            }
            Ok(config)
        }
        Err(errors) => {
            let causes = errors.0.into_iter().map(|error| (short(&error.message, &copy, &name), error.fix)).collect();
            Err(Failure { exit: Exit::Bad, causes })
        }
    }
}

/// A message about the copy as one about the file.
fn short(message: &str, copy: &str, name: &str) -> String {
    let from = message.find(copy).unwrap_or(0);
    message[from..].replace(copy, name)
}

/// The settings of the host, with the namespace that the Jobs would really be in.
pub(super) fn kubernetes(config: &Config, namespace: &str) -> Result<KubernetesConfig, Failure> {
    match &config.host {
        HostConfig::Kubernetes(settings) => {
            Ok(KubernetesConfig { namespace: namespace.to_owned(), ..settings.clone() })
        }
        HostConfig::ContainerInstances(_) => {
            let fix = "docs/container-instances.md says how the template of a container group looks; serve checks it at its start";
            Err(Failure::new(Exit::Failed, "this configuration's agents are Azure container groups", Some(fix.into())))
        }
        HostConfig::Local(_) => Err(Failure::new(Exit::Failed, "this install's agents are no Kubernetes Jobs", None)),
    }
}

/// Who the installation is: as the orchestrator says, else as it would find out.
pub(super) async fn installation(cluster: &Cluster, install: &Install, config: &Config) -> Installation {
    if let Some(id) = &config.installation_id {
        return Installation::new(id.clone());
    }
    if let Ok(Some(report)) = newest_report(cluster, &install.agents_namespace).await {
        return Installation::new(report.orchestrator.installation);
    }
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let name = &install.agents_namespace;
    let uid = cluster.call(&format!("get the namespace \"{name}\""), api.get(name)).await.ok();
    let uid = uid.and_then(|namespace| namespace.metadata.uid).unwrap_or_default();
    Installation::new(short_hash(&["namespace", &uid], 16))
}

/// The Job of a pool's agent template; the first pool and its last template where none is named.
pub(super) fn rendered(
    config: &Config,
    settings: &KubernetesConfig,
    installation: &Installation,
    pool: Option<&str>,
    template: Option<&str>,
    purpose: Purpose,
) -> Result<Rendered, Failure> {
    let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
    let found = config.pools.iter().find(|policy| pool.is_none_or(|pool| same(&policy.name, pool)));
    let Some(policy) = found else {
        let names: Vec<_> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
        let fix = format!("the configuration has: {}", names.join(", "));
        return Err(Failure::new(
            Exit::Usage,
            format!("there is no agent pool \"{}\"", pool.unwrap_or_default()),
            Some(fix),
        ));
    };
    let Some(template) = template.or_else(|| policy.templates.last().map(|template| template.name.as_str())) else {
        return Err(Failure::new(Exit::Failed, "the pool has no agent template", None));
    };
    render(config, settings, installation, (&policy.name, template), purpose)
        .map_err(|error| Failure::new(Exit::Bad, error.to_string(), error.fix()))
}
