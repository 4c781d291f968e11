//! Every setting that both the environment and the file can give, each with its origin.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;

use super::{
    Os, Polling, Registration, SecretKey,
    authentication::{SignIn, sign_in},
    container_instances::AciSettings,
    environment::Environment,
    error::{Problems, Wrong},
    host, kubernetes_names as names,
    organization::organization_url,
    origin::{Found, prefer},
    pools::{self, PoolSettings},
    timeouts::TimeoutSettings,
    token,
    value::{self, COUNT, MAXIMUM},
};
use crate::core::HostKind;

/// What one source says; what it leaves out is `None`.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) url: Option<Found<String>>,
    pub(super) sign_in: Option<Found<SignIn>>,
    pub(super) token: Option<Found<SecretString>>,
    pub(super) token_file: Option<Found<PathBuf>>,
    pub(super) ca_file: Option<Found<PathBuf>>,
    pub(super) host: Option<Found<HostKind>>,
    pub(super) namespace: Option<Found<String>>,
    pub(super) initialize_namespace: Option<Found<bool>>,
    pub(super) image: Option<Found<String>>,
    pub(super) os: Option<Found<Os>>,
    pub(super) job_template: Option<Found<PathBuf>>,
    pub(super) job_prefix: Option<Found<String>>,
    pub(super) docker_socket: Option<Found<PathBuf>>,
    pub(super) token_secret: Option<Found<SecretKey>>,
    pub(super) agent_folder: Option<Found<PathBuf>>,
    pub(super) installation_id: Option<Found<String>>,
    pub(super) listen: Option<Found<SocketAddr>>,
    pub(super) status_file: Option<Found<PathBuf>>,
    pub(super) polling: Option<Found<Polling>>,
    pub(super) run_once: Option<Found<bool>>,
    pub(super) max_agents: Option<Found<u32>>,
    pub(super) respect_parallel_jobs: Option<Found<bool>>,
    pub(super) timeouts: TimeoutSettings,
    pub(super) idle_timeout: Option<Found<Duration>>,
    pub(super) keep_finished: Option<Found<Duration>>,
    pub(super) keep_failed: Option<Found<Duration>>,
    pub(super) registration: Option<Found<Registration>>,
    pub(super) pool_min: Option<Found<u32>>,
    pub(super) pool_idle: Option<Found<u32>>,
    pub(super) pool_max: Option<Found<u32>>,
    pub(super) aci: AciSettings,
    pub(super) pools: Option<Found<Vec<PoolSettings>>>,
    /// Variables whose keys the file has, rightly or wrongly: they are not missing.
    pub(super) in_file: Vec<&'static str>,
}

impl Settings {
    /// What the environment says.
    pub(super) fn of_environment(environment: &Environment, problems: &Problems) -> Self {
        let settings = Self {
            url: environment.read("ORG_URL", problems, organization_url),
            sign_in: environment.read("ORG_AUTHENTICATION", problems, sign_in),
            token: environment.read("ORG_PAT", problems, |text| token::token(text).map_err(Wrong::new)),
            token_file: environment.read("ORG_PAT_FILE", problems, value::path),
            ca_file: environment.read("ADO_CA_FILE", problems, value::path),
            host: environment.read("HOST_TYPE", problems, host::host_kind),
            namespace: environment.read("JOB_NAMESPACE", problems, names::dns_label),
            initialize_namespace: environment.read("INITIALIZE_NAMESPACE", problems, value::boolean),
            image: environment.read("JOB_IMAGE", problems, names::image),
            os: environment.read("JOB_OS", problems, value::os),
            job_template: environment.read("JOB_DEFINITION_FILE", problems, value::path),
            job_prefix: environment.read("JOB_PREFIX", problems, names::job_prefix),
            docker_socket: environment.read("JOB_DOCKER_SOCKET_PATH", problems, value::absolute_path),
            token_secret: environment.read("JOB_TOKEN_SECRET", problems, names::secret_key),
            agent_folder: environment.read("AGENT_FOLDER", problems, value::path),
            installation_id: environment.read("INSTALLATION_ID", problems, names::label_value),
            listen: environment.read("LISTEN_ADDRESS", problems, value::listen_address),
            status_file: environment.read("STATUS_FILE", problems, value::path),
            polling: environment.read("POLLING_DELAY", problems, value::polling_delay),
            run_once: environment.read("RUN_ONCE", problems, value::boolean),
            pool_min: environment.read("MINIMUM_AGENT_COUNT", problems, value::count(COUNT)),
            pool_idle: environment.read("MINIMUM_IDLE_AGENT_COUNT", problems, value::count(COUNT)),
            pool_max: environment.read("MAXIMUM_AGENT_COUNT", problems, value::count(MAXIMUM)),
            aci: AciSettings::of_environment(environment),
            pools: environment.read("AGENT_POOLS", problems, |text| pools::pool_list(text, problems)),
            ..Self::default()
        };
        if let (Some(token), Some(_)) = (&settings.token, &settings.token_file) {
            let message = format!("{} and ORG_PAT_FILE are both set; only one of them can be meant", token.origin);
            problems.error_with_fix(message, "unset ORG_PAT; a file can be replaced without a restart");
        }
        settings
    }

    /// These settings, with what they leave out taken from others.
    pub(super) fn filled_by(self, other: Self, problems: &Problems) -> Self {
        let token_set = other.token.filter(|token| match &self.token_file {
            Some(file) => {
                problems
                    .warn(format!("{} is not used: {} says otherwise, and the file wins", token.origin, file.origin));
                false
            }
            None => true,
        });
        Self {
            url: prefer(self.url, other.url, problems),
            sign_in: prefer(self.sign_in, other.sign_in, problems),
            token: self.token.or(token_set),
            token_file: prefer(self.token_file, other.token_file, problems),
            ca_file: prefer(self.ca_file, other.ca_file, problems),
            host: prefer(self.host, other.host, problems),
            namespace: prefer(self.namespace, other.namespace, problems),
            initialize_namespace: prefer(self.initialize_namespace, other.initialize_namespace, problems),
            image: prefer(self.image, other.image, problems),
            os: prefer(self.os, other.os, problems),
            job_template: prefer(self.job_template, other.job_template, problems),
            job_prefix: prefer(self.job_prefix, other.job_prefix, problems),
            docker_socket: prefer(self.docker_socket, other.docker_socket, problems),
            token_secret: prefer(self.token_secret, other.token_secret, problems),
            agent_folder: prefer(self.agent_folder, other.agent_folder, problems),
            installation_id: prefer(self.installation_id, other.installation_id, problems),
            listen: prefer(self.listen, other.listen, problems),
            status_file: prefer(self.status_file, other.status_file, problems),
            polling: prefer(self.polling, other.polling, problems),
            run_once: prefer(self.run_once, other.run_once, problems),
            max_agents: prefer(self.max_agents, other.max_agents, problems),
            respect_parallel_jobs: prefer(self.respect_parallel_jobs, other.respect_parallel_jobs, problems),
            timeouts: self.timeouts.filled_by(other.timeouts, problems),
            idle_timeout: prefer(self.idle_timeout, other.idle_timeout, problems),
            keep_finished: prefer(self.keep_finished, other.keep_finished, problems),
            keep_failed: prefer(self.keep_failed, other.keep_failed, problems),
            registration: prefer(self.registration, other.registration, problems),
            pool_min: prefer(self.pool_min, other.pool_min, problems),
            pool_idle: prefer(self.pool_idle, other.pool_idle, problems),
            pool_max: prefer(self.pool_max, other.pool_max, problems),
            aci: self.aci.filled_by(other.aci, problems),
            pools: prefer(self.pools, other.pools, problems),
            in_file: self.in_file,
        }
    }
}

/// A file that can be opened. Its content is not looked at.
pub(super) fn readable(file: &Found<PathBuf>, problems: &Problems) -> bool {
    match open(&file.value) {
        Ok(()) => true,
        Err(error) => {
            problems.error(format!("{} names {}, which cannot be read: {error}", file.origin, shown(&file.value)));
            false
        }
    }
}

/// A path as it may be shown.
pub(super) fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let quoted = value::quoted(&text);
    // A folder's name may be long; a token has no separators.
    if quoted.starts_with('"') || text.contains(['/', '\\']) { format!("\"{text}\"") } else { quoted }
}

fn open(path: &Path) -> std::io::Result<()> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(std::io::Error::other("it is a folder"));
    }
    Ok(())
}

/// Where the two contradict: the smaller number has to be at most the larger one.
pub(super) fn at_most(small: Option<&Found<u32>>, large: Option<&Found<u32>>, problems: &Problems) {
    let (Some(small), Some(large)) = (small, large) else { return };
    if small.value > large.value {
        let message = format!("{} is {}, more than {} ({})", small.origin, small.value, large.origin, large.value);
        problems.error_with_fix(message, "lower the one or raise the other");
    }
}
