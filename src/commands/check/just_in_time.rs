//! `--deep`: whether just-in-time agents work in a pool, tried on an agent that is made for it, disabled, and removed.

use super::result::{Check, CheckResult, Section};
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId, Proof, ProofStep, RestClient},
    core::{Capabilities, Placeholder},
};

const REMOVE: Check = Check(Section::AzureDevops, "just-in-time-remove");

/// The steps, each a check of its own, and the removal of what they made.
pub(super) async fn try_it(client: &RestClient, pool: PoolId, name: &str, results: &mut Vec<CheckResult>) {
    let random: String = (0..8).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect();
    let agent = format!("kubectl-ado-check-{random}");
    let capabilities: Capabilities = [("Agent.Name", agent.as_str()), ("Agent.OS", "Linux")].into_iter().collect();
    let placeholder = Placeholder { name: agent.clone(), template: "check".to_owned(), capabilities };
    let Proof { agent: id, failed } = client.prove(pool, None, &placeholder).await;
    let mut has_failed = false;
    for step in ProofStep::ALL {
        let check = Check(Section::AzureDevops, of(step));
        let what = format!("just-in-time agents in \"{name}\": {step}");
        results.push(match &failed {
            _ if has_failed => check.skipped(format!("{what}: the step before has to work first")),
            Some((at, error)) if *at == step => {
                has_failed = true;
                let result = check.warn(error.code(), format!("{what} did not work")).evidence(error.to_string());
                result.fix(fix(step, error))
            }
            _ => check.ok(what),
        });
    }
    results.extend(match id {
        Some(id) => Some(match client.deregister(pool, id).await {
            Ok(()) => REMOVE.ok(format!("the agent \"{agent}\" that it was tried on is removed")),
            Err(error) => REMOVE
                .warn(error.code(), format!("the agent \"{agent}\" that it was tried on is still there"))
                .evidence(error.to_string())
                .fix(format!("remove it from the pool \"{name}\": Organization settings > Agent pools")),
        }),
        None => None,
    });
}

fn of(step: ProofStep) -> &'static str {
    match step {
        ProofStep::Register => "just-in-time-register",
        ProofStep::SignIn => "just-in-time-token",
        ProofStep::OpenSession => "just-in-time-session",
        ProofStep::CloseSession => "just-in-time-close",
    }
}

fn fix(step: ProofStep, error: &Error) -> String {
    match (step, error.fix()) {
        (_, Some(fix)) => fix,
        (ProofStep::Register, None) => "make the token's owner Administrator of the pool".to_owned(),
        (ProofStep::SignIn, None) if matches!(error, Error::Unreachable(_)) => {
            "let this machine and the agents reach the host above: agents sign in there".to_owned()
        }
        (_, None) => "set defaults.registration to token or init-container: this organization does not carry \
                      just-in-time agents"
            .to_owned(),
    }
}
