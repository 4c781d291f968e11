//! Azure DevOps as it looks from here: the way to it, the token, and each agent pool. Nothing is changed.

use std::path::PathBuf;

use super::{
    entra::gives_token,
    just_in_time,
    result::{Check, CheckResult, Section},
};
use crate::{
    azure::{AZURE_DEVOPS, OrganizationToken},
    azure_devops::{AzureDevOps, Error, Manage, PoolId, Reached, RestClient, Step, Way, reach},
    core::{Code, clock_skew},
};

/// How another token is brought.
fn set_token(target: &Target) -> String {
    let store = match target.in_cluster {
        true => "kubectl ado auth set --pat-file - stores it",
        false => "put it into the file that ORG_PAT_FILE (organization.tokenFile) names",
    };
    format!("make a token with the scope \"Agent Pools (read, manage)\" in this organization; {store}")
}

/// What is checked.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Target {
    /// The organization's URL.
    pub(in crate::commands) url: String,
    /// The agent pools, by name.
    pub(in crate::commands) pools: Vec<String>,
    /// The token, where there is one.
    pub(in crate::commands) token: Option<OrganizationToken>,
    /// Whether there is none because the orchestrator signs in with Entra where it runs.
    pub(in crate::commands) by_entra: bool,
    /// A bundle of private authorities.
    pub(in crate::commands) ca_file: Option<PathBuf>,
    /// Whether it is before an install, when nobody has registered placeholders yet.
    pub(in crate::commands) before: bool,
    /// Whether to try what changes something for a moment.
    pub(in crate::commands) deep: bool,
    /// Whether its orchestrator runs in a cluster, where the plugin's verbs reach it.
    pub(in crate::commands) in_cluster: bool,
}

fn check(name: &'static str) -> Check {
    Check(Section::AzureDevops, name)
}

/// All checks of Azure DevOps, in their order.
pub(in crate::commands) async fn azure_devops(target: &Target) -> Vec<CheckResult> {
    let mut results = Vec::new();
    let well = match reach(&target.url, target.ca_file.as_deref()).await {
        Ok(reached) => {
            way(&reached, &target.url, &mut results);
            reached.is_well()
        }
        Err(error) => {
            results.push(check("url").fail(Code::OrganizationNotFound, error.to_string()).fix(error.fix()));
            false
        }
    };
    let after = if well { "" } else { "the way to Azure DevOps has to work first" };
    let Some(client) = signed_in(target, after, &mut results).await else {
        for pool in &target.pools {
            results.push(check("pool").skipped(format!("agent pool \"{pool}\": the token has to work first")));
        }
        return results;
    };
    if let Some(skew) = clock_skew("this machine", client.clock().ahead(), None) {
        results.push(check("clock").warn(skew.code, skew.message).fix(skew.fix.unwrap_or_default()));
    }
    for pool in &target.pools {
        let number = look_at_pool(&client, pool, target, &mut results).await;
        if let Some(number) = number.filter(|_| target.deep) {
            just_in_time::try_it(&client, number, pool, &mut results).await;
        }
    }
    results
}

fn way(reached: &Reached, url: &str, results: &mut Vec<CheckResult>) {
    let through = match &reached.proxy {
        Some(proxy) => {
            results.push(check("proxy").ok(format!("a proxy leads to {url}")).evidence(proxy));
            format!("the proxy {}", reached.host)
        }
        None => {
            results.push(check("proxy").ok("no proxy is set for this address"));
            reached.host.clone()
        }
    };
    let proxied = reached.proxy.is_some();
    for (way, step) in &reached.steps {
        let (name, well, badly, fix) = match way {
            Way::Dns => (
                "dns",
                format!("{through} has an address"),
                format!("the name of {through} cannot be resolved"),
                if proxied { "correct HTTPS_PROXY" } else { "correct the organization's URL, or this machine's DNS" },
            ),
            Way::Tcp => (
                "tcp",
                format!("{through} accepts connections"),
                format!("no connection to {through}"),
                if proxied {
                    "correct HTTPS_PROXY, or add the host to NO_PROXY"
                } else {
                    "correct the URL and its port, open the firewall, or set HTTPS_PROXY where a proxy is needed"
                },
            ),
            Way::Tls => (
                "tls",
                "TLS works and the certificate is trusted".to_owned(),
                format!("no TLS with {}", url.trim_start_matches("https://").split('/').next().unwrap_or(url)),
                "put the certificates of the authorities that signed the server's (PEM) into a file and name it with \
                 --ca-file here, and in organization.caFile of ado.yaml",
            ),
        };
        let check = check(name);
        results.push(match step {
            Step::Well(evidence) => check.ok(well).evidence(evidence),
            Step::Failed(why) => check.fail(Code::Unreachable, badly).evidence(why).fix(fix),
            Step::Skipped(_) if reached.in_clear && *way == Way::Tls => check
                .warn(Code::Unreachable, "the token crosses the network in clear: the URL begins with http://")
                .fix("use https://"),
            Step::Skipped(why) => check.skipped(format!("TLS: {why}").replace("TLS: DNS", "connection: DNS")),
        });
    }
}

/// A client whose token is accepted.
async fn signed_in(target: &Target, after: &str, results: &mut Vec<CheckResult>) -> Option<RestClient> {
    let accepted = check("token");
    if !after.is_empty() {
        results.push(accepted.skipped(format!("token: {after}")));
        return None;
    }
    let Some(token) = &target.token else {
        if target.by_entra {
            results
                .push(accepted.skipped("token: the orchestrator signs in with Entra, and says itself how that goes"));
            return None;
        }
        results.push(accepted.skipped("token: none was given; use --pat-file or ADO_PAT"));
        return None;
    };
    if let Some(credential) = token.credential()
        && !gives_token(credential, AZURE_DEVOPS, "Azure DevOps", Section::AzureDevops, results).await
    {
        results.push(accepted.skipped("token: there has to be one first"));
        return None;
    }
    let client = match RestClient::new(&target.url, token.clone(), target.ca_file.as_deref()) {
        Ok(client) => client,
        Err(error) => {
            results.push(accepted.fail(Code::Unreachable, error.to_string()).fix(error.fix()));
            return None;
        }
    };
    match client.identity().await {
        Ok(identity) => {
            let account = identity.account.filter(|account| *account != identity.name);
            let who = account.map_or_else(|| identity.name.clone(), |account| format!("{} <{account}>", identity.name));
            results.push(accepted.ok("the token is accepted").evidence(who));
            Some(client)
        }
        // A token of a narrow scope may not be allowed to ask who it is; the pools will show.
        Err(Error::Forbidden(said)) => {
            results.push(accepted.info("the token is known; who owns it is unknown").evidence(said));
            Some(client)
        }
        Err(error) => {
            results.push(failed(target, accepted, "the token is not accepted", &error));
            None
        }
    }
}

fn failed(target: &Target, check: Check, what: &str, error: &Error) -> CheckResult {
    let code = error.code();
    let what = match code {
        Code::TokenRejected | Code::TokenLacksRights => what,
        other => other.title(),
    };
    let result = check.fail(code, what).evidence(error.to_string());
    match (code, error.fix()) {
        (Code::TokenRejected, _) if matches!(error, Error::Unauthorized(_) | Error::Token(_)) => {
            result.fix(set_token(target))
        }
        (Code::OrganizationNotFound, _) => {
            result.fix("correct the URL: https://dev.azure.com/ORGANIZATION, or https://SERVER/tfs/COLLECTION")
        }
        (_, Some(fix)) => result.fix(fix),
        (_, None) => result.fix("try again in a minute; https://status.dev.azure.com tells of outages"),
    }
}

async fn look_at_pool(
    client: &RestClient,
    name: &str,
    target: &Target,
    results: &mut Vec<CheckResult>,
) -> Option<PoolId> {
    let exists = check("pool");
    let pool = match client.pool(name).await {
        Ok(pool) => pool,
        Err(error) => {
            let result = match &error {
                Error::NoSuchPool(_) => exists
                    .fail(Code::PoolNotFound, format!("agent pool \"{name}\" does not exist, or the token may not see it"))
                    .fix("compare the name with Organization settings > Agent pools; the token's owner needs the role Reader"),
                Error::UnfitPool { reason, .. } => exists
                    .fail(Code::PoolIsHosted, format!("agent pool \"{name}\" cannot be served"))
                    .evidence(reason)
                    .fix("make a self-hosted pool: Organization settings > Agent pools > Add pool > Self-hosted"),
                other => failed(target, exists, &format!("agent pool \"{name}\" cannot be read"), other),
            };
            results.push(result);
            for (rest, what) in [("pool-manage", "may register agents"), ("pool-placeholder", "has a registered agent")]
            {
                results.push(check(rest).skipped(format!("agent pool \"{name}\" {what}: it has to be found first")));
            }
            return None;
        }
    };
    results
        .push(exists.ok(format!("agent pool \"{name}\" exists and is self-hosted")).evidence(format!("id {}", pool.0)));

    let manage = check("pool-manage");
    let role =
        "make the token's owner Administrator of the pool: Organization settings > Agent pools > the pool > Security";
    results.push(match client.may_manage(pool).await {
        Ok(Manage::Yes) => manage.ok(format!("agents can be registered in \"{name}\"")),
        Ok(Manage::NotAdministrator) => manage
            .fail(Code::PoolNotManageable, format!("the token's owner may not register agents in \"{name}\""))
            .fix(role),
        Ok(Manage::NotInScope(said)) => manage
            .fail(Code::TokenLacksRights, format!("the token may not register agents in \"{name}\""))
            .evidence(said)
            .fix(if target.token.as_ref().is_some_and(OrganizationToken::is_entra) {
                role.to_owned()
            } else {
                format!("{}; and {role}", set_token(target))
            }),
        Ok(Manage::Unknown(said)) => {
            manage.info(format!("whether agents can be registered in \"{name}\" is unknown")).evidence(said)
        }
        Err(error) => failed(target, manage, &format!("agent pool \"{name}\" cannot be read"), &error),
    });

    let placeholder = check("pool-placeholder");
    results.push(match client.agents(pool).await {
        Ok(agents) if !agents.is_empty() => {
            placeholder.ok(format!("\"{name}\" has registered agents")).evidence(format!("{}", agents.len()))
        }
        Ok(_) if target.before => placeholder
            .info(format!("\"{name}\" has no registered agent yet; the orchestrator registers a placeholder")),
        Ok(_) => placeholder
            .warn(Code::NoPlaceholder, format!("\"{name}\" has no registered agent: its jobs fail at once"))
            .fix("the orchestrator registers a placeholder within a minute; kubectl ado logs shows what keeps it"),
        Err(error) => failed(target, placeholder, &format!("the agents of \"{name}\" cannot be read"), &error),
    });
    Some(pool)
}
