//! `config set`: one setting or several, checked as `serve` checks them before anything is written.

use std::io::Write;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Map, Value, json};

use super::{
    super::{
        Exit, Failure,
        cluster_flags::ClusterFlags,
        installed::{FILE, Installed},
    },
    diff::diff,
};
use crate::{
    cluster::{Cluster, ErrorKind, Install, owner},
    config::{IN_QUOTES, SettingPath, edit},
    core::{Code, shell_word},
};

/// Change settings of the install's ado.yaml
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A list's items are addressed by their name. A name with a dot stands in double quotes. An empty value takes a setting
out of force. The orchestrator takes the change within a minute; no restart is needed.

Examples:
  kubectl ado config set limits.maxAgents=60
  kubectl ado config set \"pools.Linux Builds.limits.maxAgents=40\" defaults.startTimeout=10m
  kubectl ado config set pools.Linux.templates.gpu.maxAgents=4 --dry-run")]
pub(super) struct SetArgs {
    /// A setting's path and its new value
    #[arg(required = true, value_name = "PATH=VALUE", value_parser = change)]
    changes: Vec<(SettingPath, String)>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// A path and a value, at the first `=` outside of quotes.
fn change(text: &str) -> Result<(SettingPath, String), String> {
    let (mut quoted, mut escaped) = (false, false);
    let split = text.char_indices().find(|(_, c)| {
        quoted ^= *c == '"' && !escaped;
        escaped = *c == '\\' && quoted && !escaped;
        *c == '=' && !quoted
    });
    let Some((index, _)) = split else { return Err("it has to be PATH=VALUE".to_owned()) };
    let path = text[..index].trim().parse::<SettingPath>().map_err(|error| error.to_string())?;
    Ok((path, text[index + 1..].trim().to_owned()))
}

impl SetArgs {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let cluster = self.cluster.open()?;
        let install = self.cluster.installed(&cluster).await?;
        let installed = Installed::read(&cluster, &install).await?;
        let Some(map) = &installed.map else {
            return Err(Failure::new(
                Exit::Failed,
                "this install has no ado.yaml: it is configured by the environment of its Deployment",
                Some("kubectl ado install moves it into a ConfigMap, or change the Deployment's variables".to_owned()),
            ));
        };
        let name = map.metadata.name.clone().unwrap_or_default();
        if let Some(owner) = owner(&serde_json::json!(map)) {
            return Err(Failure::new(
                Exit::Failed,
                format!(
                    "the ConfigMap \"{name}\" is managed by {owner}, which would undo the change ({})",
                    Code::OwnedByOther
                ),
                Some("make the change in the repository or chart that it is made from".to_owned()),
            ));
        }
        let edited = edit(&installed.text, &self.changes).map_err(super::super::serve::refused)?;
        let checked = installed.check(&edited.text).map_err(super::super::serve::refused);
        let (config, _) = checked.map_err(|failure| with_quotes(failure, &self.changes))?;
        let mut err = std::io::stderr().lock();
        for warning in &config.warnings {
            writeln!(err, "warning: {warning}")?;
        }
        if edited.rewritten {
            writeln!(err, "warning: the file is written anew, and its comments are lost")?;
        }
        let mut out = std::io::stdout().lock();
        if edited.text == installed.text {
            writeln!(out, "configmap/{name} unchanged")?;
            return Ok(Exit::Done);
        }
        write!(out, "{}", diff(&installed.text, &edited.text))?;
        if self.dry_run {
            writeln!(out, "configmap/{name} configured (dry run)")?;
            return Ok(Exit::Done);
        }
        store(&cluster, &install, map, edited.text).await?;
        writeln!(out, "configmap/{name} configured")?;
        Ok(Exit::Done)
    }
}

/// A value that has to be a text is put in quotes twice: the shell takes the outer ones.
fn with_quotes(mut failure: Failure, changes: &[(SettingPath, String)]) -> Failure {
    for (message, fix) in &mut failure.causes {
        let is_meant = |(path, _): &&(SettingPath, String)| path.key().is_some_and(|key| message.contains(key));
        if fix.as_deref() == Some(IN_QUOTES)
            && let Some((path, value)) = changes.iter().find(is_meant)
        {
            let change = shell_word(&format!("{path}=\"{value}\""));
            *fix = Some(format!("kubectl ado config set {change}"));
        }
    }
    failure
}

/// Applies the ConfigMap over the version that was read, in the name that `install` applies it in. What that one had in it
/// has to be in this one too, else it would be taken away.
async fn store(cluster: &Cluster, install: &Install, map: &ConfigMap, text: String) -> Result<(), Failure> {
    let metadata = &map.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let mut data = map.data.clone().unwrap_or_default();
    data.insert(FILE.to_owned(), text);
    let ours = |key: &str| key.starts_with("app.kubernetes.io/") || key.starts_with("kubectl-ado/");
    let kept = |marks: Option<&std::collections::BTreeMap<String, String>>| -> Value {
        let kept: Map<String, Value> = marks
            .into_iter()
            .flatten()
            .filter(|(key, _)| ours(key))
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        Value::Object(kept)
    };
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": install.namespace,
            "resourceVersion": metadata.resource_version,
            "labels": kept(metadata.labels.as_ref()),
            "annotations": kept(metadata.annotations.as_ref()),
        },
        "data": data,
    });
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &install.namespace);
    let parameters = PatchParams::apply("kubectl-ado").force();
    let patch = Patch::Apply(&object);
    let what = format!("apply the ConfigMap \"{name}\" in namespace \"{}\"", install.namespace);
    match cluster.call(&what, api.patch(&name, &parameters, &patch)).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::Conflict => Err(Failure::new(
            Exit::Failed,
            format!("somebody else changed the ConfigMap \"{name}\" at the same time; nothing was written"),
            Some("run the same command again".to_owned()),
        )),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_the_shell_has_taken_the_quotes_of_is_shown_with_both() {
        let changes = [change("pools.Linux.templates.gpu.capabilities.cuda=12.10").unwrap()];
        let message = "ado.yaml:4:1: pools[0].templates[0].capabilities.cuda is 12.1; it has to be a text";
        let failure = Failure::new(Exit::Usage, message, Some(IN_QUOTES.to_owned()));
        let fix = with_quotes(failure, &changes).causes[0].1.clone().unwrap();
        assert_eq!(fix, "kubectl ado config set 'pools.Linux.templates.gpu.capabilities.cuda=\"12.10\"'");
    }

    #[test]
    fn the_value_begins_after_the_first_equals_sign_outside_of_quotes() {
        let (path, value) = change("pools.\"a=b\".limits.maxAgents = 4").unwrap();
        assert_eq!((path.to_string().as_str(), value.as_str()), ("pools.\"a=b\".limits.maxAgents", "4"));
        assert_eq!(change("organization.url=https://a/b?c=d").unwrap().1, "https://a/b?c=d");
        let (path, value) = change(r#"pools."a\"=b".limits.maxAgents=8"#).unwrap();
        assert_eq!((path.to_string().as_str(), value.as_str()), (r#"pools."a\"=b".limits.maxAgents"#, "8"));
        assert!(change("limits.maxAgents").is_err());
    }
}
