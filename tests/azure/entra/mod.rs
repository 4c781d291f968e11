//! Signing in with Entra: a stand-in for its token endpoint and for managed identity, and an organization that takes the
//! tokens which that gives out.

mod clouds;
mod links;
mod mid_run;
mod wrong;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kubectl_ado::{
    azure::{Cloud, Credential, OrganizationToken, http_client},
    azure_devops::RestClient,
    config::EntraConfig,
    sandbox::{
        Sandbox, Settings,
        azure::{Application, AzureSandbox, AzureSettings},
    },
};

/// The audience of tokens for Azure DevOps.
pub(crate) const AZURE_DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798";

/// Long enough for a busy machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Entra and an organization that trusts it.
pub(crate) struct World {
    pub(crate) azure: AzureSandbox,
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    /// With these applications beside the first one, which has a secret; all are users of the organization.
    pub(crate) fn with(applications: impl IntoIterator<Item = Application>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut settings = AzureSettings::default();
        settings.applications.extend(applications);
        let azure = AzureSandbox::start(settings).unwrap();
        let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_kubectl-ado")));
        let settings = Settings { agent_program: program, ..Settings::default() };
        let sandbox = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), settings).unwrap();
        let tokens = azure.tokens();
        sandbox.accept_tokens(move |token| {
            tokens.accepts(token, AZURE_DEVOPS, Timestamp::now()).map(|principal| principal.name)
        });
        Self { azure, sandbox, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn new() -> Self {
        Self::with([])
    }

    /// The id of the first application.
    pub(crate) fn first(&self) -> String {
        self.azure.settings().applications[0].client_id.clone()
    }

    /// Where Entra is, and nothing to sign in with.
    fn places(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_AUTHORITY_HOST", self.azure.url()),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.azure.url()),
            ("AZURE_TENANT_ID", self.azure.settings().tenant.clone()),
            ("PATH", "/nowhere".to_owned()),
        ]
    }

    /// The first application's secret, and where to go with it.
    pub(crate) fn by_secret(&self) -> Vec<(&'static str, String)> {
        let own = [("AZURE_CLIENT_ID", self.first()), ("AZURE_CLIENT_SECRET", self.azure.secret().to_owned())];
        self.places().into_iter().chain(own).collect()
    }

    /// The chain of these variables. Later ones win; an empty one is not set.
    pub(crate) fn credential(&self, variables: &[(&str, String)]) -> Credential {
        let all = self.places().into_iter().chain(variables.iter().cloned());
        let config = EntraConfig::of_environment(&all.collect()).unwrap();
        let authority = self.azure.url().parse().unwrap();
        let http = http_client(&authority, None, Duration::from_secs(5), &Default::default()).unwrap();
        Credential::new(&config, Cloud::of(&config), http)
    }

    /// A client of the organization, signed in so.
    pub(crate) fn client(&self, credential: &Credential) -> RestClient {
        RestClient::new(&self.sandbox.url(), OrganizationToken::Entra(credential.clone()), None).unwrap()
    }

    /// `kubectl-ado` with these arguments, as a process that signs in with Entra and runs agents on this machine.
    pub(crate) fn process(&self, arguments: &[&str], variables: &[(&str, String)]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-ado"));
        let usual = [
            ("ORG_URL", self.sandbox.url()),
            ("ORG_AUTHENTICATION", "entra".to_owned()),
            ("HOST_TYPE", "local".to_owned()),
            ("AGENT_FOLDER", self.folder.path().join("agents").display().to_string()),
            ("POLLING_DELAY", "100".to_owned()),
            ("HOME", self.folder.path().display().to_string()),
            ("RUST_LOG", "debug".to_owned()),
        ];
        command.args(arguments).env_clear().stdin(Stdio::null()).current_dir(self.folder.path());
        command.envs(usual).envs(self.places()).envs(variables.iter().cloned());
        let log = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        let process = command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap()).spawn().unwrap();
        Running { process, log: log.into_temp_path().keep().unwrap() }
    }

    /// No secret of the first application and no token is in a text.
    pub(crate) fn assert_tells_nothing(&self, text: &str, place: &str) {
        assert!(!text.contains(self.azure.secret()), "the secret is in {place}");
        // So all tokens and assertions begin.
        assert!(!text.contains("eyJ"), "a token is in {place}: {text}");
    }
}

/// A process of ours. Dropping it kills it.
pub(crate) struct Running {
    process: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until this stands in its log, and gives all of that.
    pub(crate) async fn says(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "it does not say {text:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.log()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return (status, self.log());
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A certificate with its key as a PEM file, and the certificate in DER.
pub(crate) fn certificate(path: &Path) -> Vec<u8> {
    let (key, _) = crate::rsa_pem::new_key();
    let pair = rcgen::KeyPair::from_pem(&key).unwrap();
    let certificate = rcgen::CertificateParams::new(["ado.test".to_owned()]).unwrap().self_signed(&pair).unwrap();
    std::fs::write(path, format!("{key}{}", certificate.pem())).unwrap();
    certificate.der().to_vec()
}
