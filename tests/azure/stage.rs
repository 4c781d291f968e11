//! What these tests share: both stand-ins, and `serve` between them.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

use kubectl_ado::sandbox::{
    AgentSpec, JobResult, JobSpec, Rules, Sandbox, Settings,
    azure::{AzureRules, AzureSandbox, AzureSettings, GroupRecord},
};
use tempfile::TempDir;

use crate::world::{Serve, assert_holds_no_token, eventually_within};

/// Long enough for a machine with other things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(400);

pub(crate) struct Stage {
    pub(crate) devops: Sandbox,
    pub(crate) azure: AzureSandbox,
    pub(crate) folder: TempDir,
    pub(crate) pool: i64,
}

/// How agents get the right to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Token,
    Files,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Files => "just-in-time",
        }
    }
}

impl Stage {
    pub(crate) fn new(rules: AzureRules) -> Self {
        Self::by(rules, Rules::default())
    }

    /// One whose organization goes by these numbers.
    pub(crate) fn by(rules: AzureRules, of_organization: Rules) -> Self {
        let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_kubectl-ado")));
        let settings = Settings { agent_program: program, rules: of_organization, ..Settings::default() };
        let devops = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), settings).unwrap();
        let azure = AzureSandbox::start(AzureSettings { rules, ..AzureSettings::default() }).unwrap();
        let pool = devops.add_pool("Linux").unwrap();
        // One that has been used before: without an agent, Azure DevOps fails every job at once.
        devops.add_agent(pool, AgentSpec::named("placeholder").disabled()).unwrap();
        Self { devops, azure, folder: TempDir::new().unwrap(), pool }
    }

    pub(crate) fn queue(&self, count: usize, script: &str) -> Vec<i64> {
        let job = |number| JobSpec::new("pipeline", format!("job {number}")).step("work", script);
        (0..count).map(|number| self.devops.queue(self.pool, job(number)).unwrap()).collect()
    }

    /// `serve` with the original's variables, and those that lead it to the stand-ins. A classic image gets the token.
    pub(crate) fn serve(&self, by: By) -> Serve {
        let mut variables: Vec<(String, String)> = vec![
            ("ORG_URL".to_owned(), self.devops.url()),
            ("ORG_PAT".to_owned(), self.devops.token().to_owned()),
            ("AGENT_POOLS".to_owned(), "Linux".to_owned()),
            ("POLLING_DELAY".to_owned(), "250".to_owned()),
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("AZURE_CLIENT_SECRET".to_owned(), self.azure.secret().to_owned()),
        ];
        variables.extend(self.azure.variables().into_iter().map(|(name, value)| (name.to_owned(), value)));
        let serve = Serve::of(variables, self.folder.path(), self.devops.token());
        match by {
            By::Token => serve.set("JOB_IMAGE", "registry.example/agent:1"),
            By::Files => serve,
        }
    }

    /// `serve` with this file beside the variables.
    pub(crate) fn serve_file(&self, by: By, file: &str) -> Serve {
        let path = self.folder.path().join("ado.yaml");
        std::fs::write(&path, file).unwrap();
        self.serve(by).argument("--config").argument(path.display().to_string())
    }

    pub(crate) fn finished(&self, requests: &[i64]) -> usize {
        requests.iter().filter(|id| self.devops.request(**id).unwrap().finished_at.is_some()).count()
    }

    /// How many of them an agent works on.
    pub(crate) fn at_work(&self, requests: &[i64]) -> usize {
        let requests = requests.iter().map(|id| self.devops.request(*id).unwrap());
        requests.filter(|request| request.received_at.is_some() && request.finished_at.is_none()).count()
    }

    /// Waits until all were served, and well.
    pub(crate) async fn all_are_served(&self, requests: &[i64]) {
        in_time("all job requests are served", || self.finished(requests) == requests.len()).await;
        for id in requests {
            let request = self.devops.request(*id).unwrap();
            assert_eq!(request.result, Some(JobResult::Succeeded), "{request:?}");
        }
    }

    /// Waits until all were served well, and the last group is gone.
    pub(crate) async fn all_are_served_and_nothing_is_left(&self, requests: &[i64]) {
        self.all_are_served(requests).await;
        in_time("all groups are deleted", || self.azure.groups().is_empty()).await;
        in_time("all registrations are removed", || self.registrations() == 0).await;
    }

    /// How many agents are registered, without those that are there for the pool's sake.
    pub(crate) fn registrations(&self) -> usize {
        self.devops.agents(self.pool).into_iter().filter(|agent| !agent.name.contains("placeholder")).count()
    }

    /// One group for each request, created once, started once, deleted.
    pub(crate) fn one_group_for_each(&self, requests: &[i64], by: By) {
        let history = self.azure.history();
        assert_eq!(history.len(), requests.len(), "groups that were ever made: {history:#?}");
        for GroupRecord { name, puts, starts, deletes, deleted_at, tags, .. } in &history {
            assert_eq!((*puts, *starts), (1, 1), "{name}");
            assert_eq!(tags["kubectl-ado-registration"], by.name(), "{name}");
            assert!(*deletes >= 1 && deleted_at.is_some(), "{name}");
        }
    }

    /// No attempt at any request was made twice, and as many agents worked to their end as there were requests: whose they
    /// were made for says nothing, since each may receive any.
    pub(crate) fn each_attempt_once_and_one_that_works(&self, requests: &[i64]) {
        let history = self.azure.history();
        let attempt =
            |group: &GroupRecord| ["request", "attempt"].map(|key| group.tags[&format!("kubectl-ado-{key}")].clone());
        let attempts: BTreeSet<_> = history.iter().map(attempt).collect();
        assert_eq!(attempts.len(), history.len(), "{history:#?}");
        assert!(history.iter().all(|group| group.puts == 1 && group.starts <= 1), "{history:#?}");
        let worked = history.iter().filter(|group| group.exit_code == Some(0)).count();
        assert_eq!(worked, requests.len(), "{history:#?}");
    }

    /// No secret is in what anybody could read of groups, of which there are some.
    pub(crate) fn no_secret_can_be_read(&self) {
        let group = self.azure.settings().resource_groups.first().unwrap().clone();
        let names = self.azure.groups();
        let shown = self.azure.see(|groups| {
            let all = names.iter().filter_map(|name| groups.get(&group, name).ok()).map(|group| group.to_string());
            all.collect::<String>()
        });
        assert!(!shown.is_empty(), "there is no group to read of");
        self.holds_no_secret(&shown, "a group");
        self.no_secret_was_left();
    }

    /// No secret is in the tags of any group there ever was, nor in the logs of their agents.
    pub(crate) fn no_secret_was_left(&self) {
        let history = self.azure.history();
        assert!(!history.is_empty(), "there never was a group");
        for record in history {
            self.holds_no_secret(&format!("{record:?}"), "a tag");
            self.holds_no_secret(&self.azure.log(&record.name), "a log");
        }
    }

    fn holds_no_secret(&self, text: &str, place: &str) {
        let given = self.azure.tokens().texts();
        assert!(!given.is_empty(), "nobody has signed in");
        for secret in [self.devops.token(), self.azure.secret()].into_iter().chain(given.iter().map(String::as_str)) {
            assert_holds_no_token(text, secret, place);
        }
    }
}

/// Waits until something is true.
pub(crate) async fn in_time(what: &str, is_true: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, is_true).await;
}

/// How many calls of this method to single groups there were that were not dropped.
pub(crate) fn calls(azure: &AzureSandbox, method: &str) -> u64 {
    count(azure, &format!("{method} containerGroups/{{name}}"))
}

/// How many calls of this kind there were.
pub(crate) fn count(azure: &AzureSandbox, kind: &str) -> u64 {
    azure.calls().get(kind).copied().unwrap_or_default()
}
