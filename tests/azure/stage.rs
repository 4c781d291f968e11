//! What these tests share: both stand-ins, and `serve` between them.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use kubectl_ado::sandbox::{
    AgentSpec, JobResult, JobSpec, Rules, Sandbox, Settings,
    azure::{AzureRules, AzureSandbox, AzureSettings, GroupRecord},
};
use tempfile::TempDir;

use crate::world::{Serve, assert_holds_no_token};

/// Long enough for a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(400);

/// Time between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

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

    /// Waits until all were served well, and the last group is gone.
    pub(crate) async fn all_are_served_and_nothing_is_left(&self, requests: &[i64]) {
        in_time("all job requests are served", || self.finished(requests) == requests.len()).await;
        for id in requests {
            let request = self.devops.request(*id).unwrap();
            assert_eq!(request.result, Some(JobResult::Succeeded), "{request:?}");
        }
        in_time("all groups are deleted", || self.azure.groups().is_empty()).await;
        let left =
            || self.devops.agents(self.pool).into_iter().filter(|agent| !agent.name.contains("placeholder")).count();
        in_time("all registrations are removed", || left() == 0).await;
    }

    /// One group for each request, created once, started once, deleted.
    pub(crate) fn one_group_for_each(&self, requests: &[i64], by: By) {
        let history = self.azure.history();
        assert_eq!(history.len(), requests.len(), "groups that were ever made");
        for GroupRecord { name, puts, starts, deletes, deleted_at, tags, .. } in &history {
            assert_eq!((*puts, *starts), (1, 1), "{name}");
            assert_eq!(tags["kubectl-ado-registration"], by.name(), "{name}");
            assert!(*deletes >= 1 && deleted_at.is_some(), "{name}");
        }
    }

    /// What anybody could read of groups.
    pub(crate) fn no_secret_can_be_read(&self) {
        let group = self.azure.settings().resource_groups.first().unwrap().clone();
        let names = self.azure.groups();
        let shown = self.azure.see(|groups| {
            let all = names.iter().filter_map(|name| groups.get(&group, name).ok()).map(|group| group.to_string());
            all.collect::<String>()
        });
        assert_holds_no_token(&shown, self.devops.token(), "a group");
        for record in self.azure.history() {
            assert_holds_no_token(&format!("{record:?}"), self.devops.token(), "a tag");
        }
    }
}

/// Waits until something is true.
pub(crate) async fn in_time(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// How many calls of this method to single groups there were.
pub(crate) fn calls(azure: &AzureSandbox, method: &str) -> u64 {
    let prefix = format!("{method} containerGroups/{{name}}");
    azure.calls().iter().filter(|(call, _)| **call == prefix).map(|(_, count)| count).sum()
}
