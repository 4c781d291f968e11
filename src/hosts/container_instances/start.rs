//! Starting agents. A group is put once: who does it has looked before that there is none of that name, and whoever does not
//! know whether it came about looks for it.
//!
//! A just-in-time run is held in this process's memory alone, because a container group cannot be made and wait. If this
//! process ends, so does the hold, and the next one starts the run from the beginning: its registration is ours and not
//! online, and gets another key. Once its group exists it is never made ready again.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::{
    ContainerInstancesHost,
    group::{self, Grant, GroupSettings, MadeGroup},
    ledger::HeldRun,
    quota::{Gate, room},
    refusal::quota_fix,
    secrets, tags,
};
use crate::{
    azure::arm::ArmError,
    config::{AgentSpec, Registry, RegistrySecret, TokenSource},
    core::{EquipRun, Held, Recipe, StartRun},
    hosts::{AgentFiles, HostError, Started, json::contains_text},
};

/// The shortest text that is recognized as a token; a shorter one may stand in a group by chance.
const SHORTEST_TOKEN: usize = 8;

impl ContainerInstancesHost {
    pub(super) async fn start_run(&self, run: &StartRun) -> Result<Started, HostError> {
        if self.ledger().held.contains_key(&run.name) {
            return Ok(Started::AlreadyThere);
        }
        if self.is_there(run).await? {
            return Ok(Started::AlreadyThere);
        }
        self.pass_quota(run).await?;
        let passed = Instant::now();
        let now = Timestamp::now();
        match run.recipe {
            Recipe::JustInTime => {
                // What is wrong with the template is said before anything is registered.
                self.make(run, Grant::Files(&AgentFiles::new()), now)?;
                let held = Held { by: self.identity.clone(), since: now };
                self.ledger().held.insert(run.name.clone(), HeldRun { run: run.clone(), held, passed });
            }
            Recipe::Token => {
                let token = self.token.for_an_agent().await.map_err(HostError::Credential)?;
                let made = self.make(run, Grant::Token(&token), now)?;
                self.put(run, &made, now).await?;
            }
            Recipe::InitContainer => {
                return Err(HostError::Refused {
                    reason: "invalid",
                    message: "only pods have init containers that register agents".to_owned(),
                    fix: Some("set registration to auto, just-in-time or token".to_owned()),
                });
            }
        }
        Ok(Started::Created)
    }

    pub(super) fn claim_held(&self, run: &EquipRun) -> Result<(), HostError> {
        let mut ledger = self.ledger();
        let held =
            ledger.held.get_mut(&run.name).filter(|held| held.held == run.held).ok_or_else(|| gone(&run.name))?;
        held.held.since = Timestamp::now();
        Ok(())
    }

    pub(super) async fn equip_held(&self, name: &str, files: &AgentFiles) -> Result<(), HostError> {
        // Whatever comes of it: if it fails, the run is started from the beginning.
        let HeldRun { run, passed, .. } = self.ledger().held.remove(name).ok_or_else(|| gone(name))?;
        if self.is_there(&run).await? {
            let message = format!("another process has made the container group \"{name}\" meanwhile");
            return Err(HostError::Unavailable(message));
        }
        // It was let through when it began; asking twice would use up two places for one group.
        if self.quota.refused_since(passed) {
            self.pass_quota(&run).await?;
        }
        let now = Timestamp::now();
        let made = self.make(&run, Grant::Files(files), now)?;
        self.put(&run, &made, now).await
    }

    /// Whether there is a group of that name. One that is not of this run is an error.
    async fn is_there(&self, run: &StartRun) -> Result<bool, HostError> {
        let name = run.name.as_str();
        let look = self.look_at(name).await;
        let look =
            look.map_err(|error| self.refused(&error, &format!("look for the container group \"{name}\""), &[]))?;
        let collision = |owner| Err(HostError::Collision { name: name.to_owned(), owner });
        match look {
            None => Ok(false),
            Some(Err(owner)) => collision(owner),
            Some(Ok(seen)) if seen.run.pool != run.pool => {
                collision(format!("this installation, for the pool \"{}\"", seen.run.pool))
            }
            Some(Ok(seen)) if seen.is_going() || self.ledger().is_going(name) => {
                Err(HostError::Unavailable(format!("the container group \"{name}\" is being deleted")))
            }
            Some(Ok(seen)) => {
                let mut ledger = self.ledger();
                ledger.expectations.starting(run, Timestamp::now());
                ledger.expectations.started(name, seen.run.created_at, None);
                ledger.looked(name, Some(seen));
                Ok(true)
            }
        }
    }

    /// Where there was no room lately, Azure is not asked for another group before there is some.
    async fn pass_quota(&self, run: &StartRun) -> Result<(), HostError> {
        let message = match self.quota.gate() {
            Gate::Open => return Ok(()),
            Gate::Closed(message) => message,
            Gate::Ask(message) => {
                let cores = self.make(run, Grant::Files(&AgentFiles::new()), Timestamp::now())?;
                let room = match self.arm.get(&self.usages_path()).await {
                    Ok(usages) => room(&usages, group::cores(&cores.body)),
                    // Without the right to see the count, there is only trying, one at a time.
                    Err(ArmError::Refused { .. }) => 1,
                    Err(_) => 0,
                };
                if room > 0 {
                    self.quota.has_room(room);
                    return Ok(());
                }
                message
            }
        };
        Err(self.no_room(&run.name, &message))
    }

    fn no_room(&self, name: &str, said: &str) -> HostError {
        HostError::Full {
            message: format!("cannot create the container group \"{name}\": {said}"),
            fix: quota_fix(&self.aci),
        }
    }

    async fn put(&self, run: &StartRun, made: &MadeGroup, created_at: Timestamp) -> Result<(), HostError> {
        let name = run.name.as_str();
        self.ledger().expectations.starting(run, created_at);
        match self.arm.put(&self.group_path(name), &made.body).await {
            Ok(answer) => {
                self.quota.worked();
                let mut ledger = self.ledger();
                ledger.expectations.started(name, created_at, None);
                if let Some(url) = answer.operation {
                    ledger.goes_on(name, url, created_at);
                }
                Ok(())
            }
            Err(error) => {
                let now = Timestamp::now();
                match error.is_certain() {
                    true => self.ledger().expectations.refused(name, now),
                    false => self.ledger().expectations.in_doubt(name, now),
                }
                let secrets = secrets::of_group(&made.body);
                if error.is_quota() {
                    let said = secrets::scrub(&error.to_string(), &secrets);
                    self.quota.refused(&said);
                    return Err(self.no_room(name, &said));
                }
                Err(self.refused(&error, &format!("create the container group \"{name}\""), &secrets))
            }
        }
    }

    /// Makes the body of a run's group.
    pub(super) fn make(&self, run: &StartRun, grant: Grant<'_>, now: Timestamp) -> Result<MadeGroup, HostError> {
        let Some(agent) = self.agents.get(&(run.pool.clone(), run.template.clone())) else {
            let message = format!("pool \"{}\" has no agent template \"{}\"", run.pool, run.template);
            return Err(HostError::Refused { reason: "template", message, fix: None });
        };
        if let Grant::Token(token) = grant {
            refuse_plain(agent, run, token)?;
        }
        let password = self.registry_password()?;
        let settings = GroupSettings {
            installation: &self.owner.installation,
            organization: &self.owner.organization,
            aci: &self.aci,
            agent,
            tags: tags::tags(run, &self.owner, now, now + self.aci.max_lifetime),
            grant,
            registry_password: password.as_ref().map(ExposeSecret::expose_secret),
            way: &self.way,
        };
        group::make_group(run, &settings).map_err(|error| {
            let file = agent.container_group.as_ref().map(|template| template.path.display().to_string());
            let file = file.unwrap_or_default();
            HostError::Refused {
                reason: "template",
                message: format!("the container group's template {file}: {error}"),
                fix: Some(format!("correct {} in {file}", error.path)),
            }
        })
    }

    /// Read anew for each group, because it may have been renewed.
    fn registry_password(&self) -> Result<Option<SecretString>, HostError> {
        let Some(Registry { secret: RegistrySecret::Password { file, .. }, .. }) = &self.aci.registry else {
            return Ok(None);
        };
        let password = TokenSource::File(file.clone()).current();
        password.map(Some).map_err(|what| HostError::Credential(format!("the registry's password: {what}")))
    }
}

/// Refuses a group that would show the organization's token to everyone who may see groups.
fn refuse_plain(agent: &AgentSpec, run: &StartRun, token: &SecretString) -> Result<(), HostError> {
    let token = token.expose_secret();
    let Some(template) = agent.container_group.as_ref().filter(|_| token.len() >= SHORTEST_TOKEN) else {
        return Ok(());
    };
    let mut open = template.body.clone();
    without_own_token(&mut open);
    if !contains_text(&open, token) {
        return Ok(());
    }
    Err(HostError::Refused {
        reason: "plaintext-token",
        message: format!("the template of pool \"{}\" holds the organization's token as plain text", run.pool),
        fix: Some("take it out of the template: the agent gets it as a secret of its group".to_owned()),
    })
}

/// A variable AZP_TOKEN is left out of the group in any case, with a warning.
fn without_own_token(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(items) => {
            items.retain(|item| item.get("name").and_then(serde_json::Value::as_str) != Some("AZP_TOKEN"));
            items.iter_mut().for_each(without_own_token);
        }
        serde_json::Value::Object(map) => map.values_mut().for_each(without_own_token),
        _ => {}
    }
}

fn gone(name: &str) -> HostError {
    HostError::Unavailable(format!("\"{name}\" does not wait for its files any more"))
}
