//! How the sandbox is set up, beyond the rules of its organization.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use jiff::SignedDuration;
use secrecy::SecretString;

use super::{served::random_secret, state::Rules};

/// Settings of a sandbox. The defaults behave like Azure DevOps in the cloud.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The organization's name, as it stands in URLs.
    pub organization: String,
    /// The personal access token that is accepted.
    pub token: SecretString,
    /// Times and limits of the organization.
    pub rules: Rules,
    /// How long a poll for messages is held open: 50 seconds.
    pub hold: Duration,
    /// How long an agent pauses after a poll without a message: 5 to 15 seconds.
    pub poll_pause: RangeInclusive<Duration>,
    /// How far the organization's clock is ahead of this machine's.
    pub clock_ahead: SignedDuration,
    /// How long an agent's access token holds, in whole seconds: 50 minutes.
    pub token_lifetime: Duration,
    /// Encrypt the keys of sessions as servers in FIPS mode do, with SHA-256 instead of SHA-1 in the padding.
    pub use_fips_encryption: bool,
    /// Answer a list of job requests with `$top` as a bare array.
    pub bare_lists: bool,
    /// Leave `matchedAgents` out where all agents match.
    pub omit_matched_agents: bool,
    /// Whether the organization has public projects: a caller without a token is nobody in particular then, where a private
    /// organization refuses them.
    pub is_public: bool,
    /// Whether an agent that is registered as disabled is. Which of the two Azure DevOps does is not known. Where it does not,
    /// the agent is enabled all the same, and has to be disabled by a PATCH.
    pub registers_disabled_agents: bool,
    /// What a registration says of the URL that its agent is to use (`properties.ServerUrl`); nothing by default.
    pub server_url: Option<String>,
    /// The highest API version, 7.2 in the cloud; 7.0 and 6.0 are Azure DevOps Servers.
    pub latest_api_version: (u32, u32),
    /// The program that the agent package hands over to where the environment names none; by default this one.
    pub agent_program: Option<PathBuf>,
    /// What the agent package holds instead of scripts that hand over to a program: an agent that a test brings along.
    pub agent_scripts: Option<AgentScripts>,
}

/// The two scripts of an agent package, in bash.
#[derive(Clone, Debug)]
pub struct AgentScripts {
    /// `config.sh`, which is called to register the agent and, with `remove`, to unregister it.
    pub config: String,
    /// `run.sh`.
    pub run: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            organization: "sandbox".to_owned(),
            token: random_secret(),
            rules: Rules::default(),
            hold: Duration::from_secs(50),
            poll_pause: Duration::from_secs(5)..=Duration::from_secs(15),
            clock_ahead: SignedDuration::ZERO,
            token_lifetime: Duration::from_secs(3000),
            use_fips_encryption: false,
            bare_lists: false,
            omit_matched_agents: false,
            is_public: false,
            registers_disabled_agents: true,
            server_url: None,
            latest_api_version: (7, 2),
            agent_program: None,
            agent_scripts: None,
        }
    }
}
