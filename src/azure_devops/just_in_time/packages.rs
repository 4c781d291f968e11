//! Where the agent's own software can be downloaded: for images that do not have it built in, which cannot ask without
//! a token.

use std::time::Duration;

use serde::Deserialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::azure_devops::{
    RestClient,
    list::{Elements, Wire},
    request::Request,
};

/// What agents of ours run on.
const PLATFORMS: [&str; 4] = ["linux-x64", "linux-arm64", "linux-musl-x64", "osx-arm64"];

/// How long an answer is believed. A new agent comes every few weeks.
const LIFETIME: Duration = Duration::from_secs(3600);

/// How long it is done without after there was no answer.
const AGAIN: Duration = Duration::from_secs(60);

/// No agent waits longer for it: most images have the software.
const PATIENCE: Duration = Duration::from_secs(3);

/// The last answer, as the file `packages` says it: for each platform a line with its name, the address, and the SHA-256.
#[derive(Debug, Default)]
pub(in crate::azure_devops) struct Packages(Mutex<Option<(Instant, String)>>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PackageJson {
    platform: Option<String>,
    download_url: Option<String>,
    hash_value: Option<String>,
}

/// One line of the file.
struct Package(String);

impl Wire for PackageJson {
    type Model = Package;

    /// What does not fit on one line in three words is no address.
    fn into_model(self) -> Result<Option<Package>, &'static str> {
        let (Some(platform), Some(url)) = (self.platform, self.download_url) else { return Ok(None) };
        let words = [platform, url, self.hash_value.unwrap_or_default()];
        let fits = |word: &String| !word.contains(|c: char| c.is_whitespace() || c.is_control());
        Ok(words.iter().all(fits).then(|| Package(words.join(" "))))
    }
}

impl RestClient {
    /// The file `packages`. Empty where nobody tells: an image that has the agent does not need it.
    pub(super) async fn packages(&self) -> String {
        let mut known = self.packages.0.lock().await;
        let holds = |lines: &String| if lines.is_empty() { AGAIN } else { LIFETIME };
        if let Some((_, lines)) = known.as_ref().filter(|(at, lines)| at.elapsed() < holds(lines)) {
            return lines.clone();
        }
        let asked = timeout(PATIENCE, self.ask_for_packages()).await;
        let lines = asked.unwrap_or_default();
        known.insert((Instant::now(), lines)).1.clone()
    }

    async fn ask_for_packages(&self) -> String {
        let mut lines = String::new();
        for platform in PLATFORMS {
            let request = Request::package(platform);
            let deadline = self.caller.deadline();
            match self.caller.get(&request, None, deadline, Elements::<PackageJson>::default).await {
                Ok(page) => {
                    for Package(line) in page.content.into_iter().take(1) {
                        lines.push_str(&line);
                        lines.push('\n');
                    }
                }
                Err(failure) => tracing::debug!(platform, ?failure, "the agent's package was not found"),
            }
        }
        lines
    }
}
