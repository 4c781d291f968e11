//! Kubeconfig files (JSON, which is YAML too) and the clients made from them.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use crate::certificates::Identity;

/// How a user proves who they are.
pub(crate) enum Credential {
    Certificate(Identity),
    Token(String),
}

/// Whom a kubeconfig is for, and where it leads.
pub(crate) struct User<'a> {
    pub(crate) url: &'a str,
    /// The certificate of the server's authority, PEM.
    pub(crate) authority: &'a str,
    pub(crate) name: &'a str,
    pub(crate) credential: Credential,
    /// The current context's.
    pub(crate) namespace: &'a str,
}

impl User<'_> {
    /// Writes a kubeconfig that only we can read.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let encode = |pem: &str| BASE64_STANDARD.encode(pem);
        let user = match &self.credential {
            Credential::Certificate(identity) => json!({
                "client-certificate-data": encode(&identity.certificate),
                "client-key-data": encode(&identity.key),
            }),
            Credential::Token(token) => json!({ "token": token }),
        };
        let cluster = json!({ "server": self.url, "certificate-authority-data": encode(self.authority) });
        let context = json!({ "cluster": "control-plane", "user": self.name, "namespace": self.namespace });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "control-plane", "cluster": cluster }],
            "users": [{ "name": self.name, "user": user }],
            "contexts": [{ "name": "control-plane", "context": context }],
            "current-context": "control-plane",
        });
        write_private(path, &format!("{config:#}\n"))
    }
}

/// Writes a file with mode 0600.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// A client for the kubeconfig at `path`, bound to the tokio runtime it is made on.
pub(crate) async fn connect(path: &Path) -> Result<kube::Client> {
    // Fails when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // Taken from HTTPS_PROXY; the control plane is on loopback.
    config.proxy_url = None;
    Ok(kube::Client::try_from(config)?)
}
