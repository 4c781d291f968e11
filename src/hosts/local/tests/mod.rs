//! The local host with real processes. Small scripts stand in for the agent.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{LocalHost, launch::mark, process};
use crate::{
    config::{LocalConfig, TokenSource},
    core::{Installation, Purpose, Recipe, RequestId, Retention, Run, RunPhase, StartRun, StopReason, StopRun},
    hosts::AgentHost,
};

mod ending;
mod environment;
mod held;
mod keeping;
mod life;
mod unreadable;

const URL: &str = "http://127.0.0.1:9/contoso";
const TOKEN: &str = "the-secret-token";
const NAME: &str = "agent-abcde-one";

/// Lives until a file `go` appears in its folder.
const UNTIL_GO: &str = "echo started; until [[ -e go ]]; do sleep 0.02; done";

/// A folder for a test. Whatever happens in the test, no process is left.
struct Place {
    folder: TempDir,
    retention: Retention,
}

impl Place {
    fn new() -> Self {
        let day = Duration::from_secs(86_400);
        Self { folder: tempfile::tempdir().unwrap(), retention: Retention { finished: day, failed: day } }
    }

    fn keeping_nothing() -> Self {
        let mut place = Self::new();
        place.retention = Retention { finished: Duration::ZERO, failed: Duration::ZERO };
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("local")
    }

    fn run(&self, name: &str) -> PathBuf {
        self.path().join("runs").join(name)
    }

    fn host(&self, script: &str) -> LocalHost {
        self.host_with(script, "ours", TokenSource::Value(TOKEN.into()))
    }

    fn host_with(&self, script: &str, installation: &str, token: TokenSource) -> LocalHost {
        let config = LocalConfig { folder: self.path() };
        let installation = Installation::new(installation);
        LocalHost::open_with_script(&config, URL, token, installation, self.retention, script).unwrap()
    }

    /// Lets a script that waits for it go on.
    fn go(&self, name: &str) {
        fs::write(self.run(name).join("agent/go"), "").unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Ok(folder) = super::folder::Folder::open(&self.path()) else { return };
        let marks: Vec<_> = folder.names().unwrap_or_default().iter().map(|name| mark(&folder, name)).collect();
        let _ = process::kill_with_environment(&marks);
    }
}

fn request(name: &str) -> StartRun {
    StartRun {
        name: name.to_owned(),
        pool: "Linux Builds".to_owned(),
        template: "default".to_owned(),
        purpose: Purpose::Request(RequestId(7)),
        attempt: 1,
        revision: "r1".to_owned(),
        recipe: crate::core::Recipe::default(),
    }
}

/// The processes of a run, whatever group they are in.
fn processes(host: &LocalHost, name: &str) -> Vec<i32> {
    process::with_environment(&[mark(&host.shared.folder, name)])
}

async fn phase(host: &LocalHost, name: &str) -> Option<RunPhase> {
    host.runs().await.unwrap().into_iter().find(|run| run.name == name).map(|run| run.phase)
}

/// Waits for the end of a run.
async fn ended(host: &LocalHost, name: &str) -> Run {
    let live = host.wait_until_all_ended(Some(Duration::from_secs(30))).await.unwrap();
    assert_eq!(live, Vec::<String>::new(), "still live");
    host.runs().await.unwrap().into_iter().find(|run| run.name == name).expect("it is reported")
}

fn reason(run: &Run) -> &str {
    match &run.phase {
        RunPhase::Failed(_, reason) => reason,
        other => panic!("{other:?}"),
    }
}

async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the log of a run holds a text.
async fn logged(host: &LocalHost, name: &str, text: &str) -> String {
    let read = || fs::read_to_string(host.log(name)).ok().filter(|log| log.contains(text));
    eventually(text, read).await
}
