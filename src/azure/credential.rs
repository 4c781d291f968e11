//! The chain: each link is tried in its order, and the first that gives a token is kept.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{Client, header::HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use tracing::{info, warn};

use super::{
    AccessToken, Cloud, EntraError, Said, SetupError,
    cache::{Slot, Verdict},
    chain,
    link::{Link, Refusal},
    transport::http_client,
};
use crate::config::{Config, EntraConfig};

/// Until a connection stands, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// Whose tokens we act by in Azure. Cheap to clone; all clones share what they know.
#[derive(Clone)]
pub struct Credential {
    shared: Arc<Shared>,
}

struct Shared {
    links: Vec<Link>,
    /// The link that gave the first token.
    kept: OnceLock<usize>,
    scopes: Mutex<BTreeMap<String, Arc<Slot>>>,
}

impl Credential {
    /// The chain of what is set up, in this cloud. `http` reaches its authority.
    #[must_use]
    pub fn new(config: &EntraConfig, cloud: Cloud, http: Client) -> Self {
        let links = chain::links(config, cloud, http);
        Self { shared: Arc::new(Shared { links, kept: OnceLock::new(), scopes: Mutex::default() }) }
    }

    /// The chain as a configuration has it.
    ///
    /// # Errors
    ///
    /// As [`http_client`].
    pub fn of(config: &Config) -> Result<Self, SetupError> {
        let cloud = Cloud::of(&config.entra);
        let authority = cloud.authority().parse().map_err(|error| {
            SetupError::new(format!("{} is not a URL: {error}", cloud.authority()), "correct AZURE_AUTHORITY_HOST")
        })?;
        let http = http_client(&authority, config.ca_file.as_deref(), CONNECT, &HeaderMap::new())?;
        Ok(Self::new(&config.entra, cloud, http))
    }

    /// A token for a scope such as `https://management.azure.com/.default`: the one that is there until shortly before
    /// its end, else a new one. Whoever asks at the same time gets the same one.
    ///
    /// # Errors
    ///
    /// No link gave one; it stands for some seconds before they are asked again.
    pub async fn token(&self, scope: &str) -> Result<AccessToken, EntraError> {
        self.lasting(scope, Duration::ZERO).await
    }

    /// The same; if it can be had, one that is good for at least that long.
    ///
    /// # Errors
    ///
    /// As [`Credential::token`].
    pub async fn lasting(&self, scope: &str, at_least: Duration) -> Result<AccessToken, EntraError> {
        let slot = self.slot(scope);
        let flight = match slot.verdict(Timestamp::now(), at_least) {
            Verdict::Good(token) => return Ok(token),
            Verdict::Failed(error) => return Err(error),
            Verdict::Aging(token) if at_least.is_zero() => match Arc::clone(&slot.flight).try_lock_owned() {
                Ok(flight) => flight,
                // Somebody is at it already.
                Err(_) => return Ok(token),
            },
            // Who needs it for long waits for the new one.
            Verdict::Missing | Verdict::Aging(_) => Arc::clone(&slot.flight).lock_owned().await,
        };
        let old = match slot.verdict(Timestamp::now(), at_least) {
            Verdict::Good(token) => return Ok(token),
            Verdict::Failed(error) => return Err(error),
            Verdict::Aging(token) => Some(token),
            Verdict::Missing => None,
        };
        // It goes on if whoever asked gives up: the next one has it then.
        let (this, scope) = (self.clone(), scope.to_owned());
        let asking = tokio::spawn(async move {
            let _flight = flight;
            this.renew(&slot, &scope).await
        });
        match old {
            // Nobody has to wait for it.
            Some(token) if at_least.is_zero() => Ok(token),
            _ => asking.await.unwrap_or_else(|_| Err(EntraError::new(Vec::new(), "try again".to_owned()))),
        }
    }

    /// Forgets a token that was refused, so that the next one is a new one. Whether that is worth another try: it was the one
    /// in use, and none was refused a few minutes ago.
    pub fn forget(&self, scope: &str, refused: &SecretString) -> bool {
        let is_it = |token: &AccessToken| token.secret.expose_secret() == refused.expose_secret();
        self.slot(scope).forget(Timestamp::now(), &is_it)
    }

    /// The place of a scope. Open to the tests, which put tokens of any age there.
    pub(super) fn slot(&self, scope: &str) -> Arc<Slot> {
        let mut scopes = self.shared.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(scopes.entry(scope.to_owned()).or_default())
    }

    async fn renew(&self, slot: &Slot, scope: &str) -> Result<AccessToken, EntraError> {
        match self.ask(scope).await {
            Ok(token) => {
                slot.came(token.clone(), Timestamp::now());
                Ok(token)
            }
            Err(error) => match slot.failed(error.clone(), Timestamp::now()) {
                Some(old) => {
                    let (until, fix, said) = (old.expires_at, error.fix(), error.one_line());
                    warn!(%until, fix, "the token is not renewed and the old one is used: {said}");
                    Ok(old)
                }
                None => Err(error),
            },
        }
    }

    async fn ask(&self, scope: &str) -> Result<AccessToken, EntraError> {
        let Shared { links, kept, .. } = &*self.shared;
        if let Some(link) = kept.get().and_then(|index| links.get(*index)) {
            return link.token(scope).await.map_err(|refusal| {
                // It has been there before.
                let may_pass = refusal.may_pass() || matches!(refusal, Refusal::Absent(_));
                told(Vec::new(), link, refusal, &[]).passing(may_pass)
            });
        }
        let mut said = Vec::new();
        for (index, link) in links.iter().enumerate() {
            match link.token(scope).await {
                Ok(token) => {
                    if kept.set(index).is_ok() {
                        info!(link = link.name(), "signed in with Entra");
                    }
                    return Ok(token);
                }
                Err(Refusal::Absent(what)) => said.push(Said { link: link.name(), what }),
                Err(failed) => return Err(told(said, link, failed, &links[index + 1..])),
            }
        }
        Err(EntraError::new(said, chain::FIX.to_owned()))
    }
}

/// What the links said up to this one, with which it ends, and that the rest was not tried.
fn told(mut said: Vec<Said>, link: &Link, refusal: Refusal, rest: &[Link]) -> EntraError {
    let may_pass = refusal.may_pass();
    let (what, fix) = refusal.into_words();
    said.push(Said { link: link.name(), what });
    let not_tried = || format!("not tried: {} is set up", link.name());
    said.extend(rest.iter().map(|after| Said { link: after.name(), what: not_tried() }));
    EntraError::new(said, fix.unwrap_or_else(|| chain::FIX.to_owned())).passing(may_pass)
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.shared.links.iter().map(Link::name).collect();
        f.debug_struct("Credential").field("links", &names).finish_non_exhaustive()
    }
}
