//! Where the agent's own software can be downloaded: for images that do not have it built in, which cannot ask without
//! a token.

use std::time::Duration;

use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use crate::azure_devops::{
    RestClient,
    list::{List, Wire},
    request::Request,
};

/// What agents of ours run on.
const PLATFORMS: [&str; 4] = ["linux-x64", "linux-arm64", "linux-musl-x64", "osx-arm64"];

/// How long an answer is believed. A new agent comes every few weeks.
const LIFETIME: Duration = Duration::from_secs(3600);

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
    fn into_model(self) -> Option<Package> {
        let words = [self.platform?, self.download_url?, self.hash_value.unwrap_or_default()];
        let fits = |word: &String| !word.contains(|c: char| c.is_whitespace() || c.is_control());
        words.iter().all(fits).then(|| Package(words.join(" ")))
    }
}

impl RestClient {
    /// The file `packages`. Empty where nobody tells: an image that has the agent does not need it.
    pub(super) async fn packages(&self) -> String {
        let mut known = self.packages.0.lock().await;
        if let Some((_, lines)) = known.as_ref().filter(|(at, _)| at.elapsed() < LIFETIME) {
            return lines.clone();
        }
        let mut lines = String::new();
        for platform in PLATFORMS {
            let request = Request::package(platform);
            match self.caller.get::<List<PackageJson>>(&request, None, self.caller.deadline()).await {
                Ok(page) => {
                    for Package(line) in page.content.0.into_iter().take(1) {
                        lines.push_str(&line);
                        lines.push('\n');
                    }
                }
                Err(failure) => {
                    tracing::debug!(platform, ?failure, "the agent's package was not found");
                    return lines;
                }
            }
        }
        known.insert((Instant::now(), lines)).1.clone()
    }
}
