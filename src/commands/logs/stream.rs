//! Reads the logs of pods: one after the other, or, with `-f`, all at once and those of new pods too.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};
use tokio::sync::mpsc;

use super::{
    LineFlags, Source,
    pods::{LogState, PodLog, pods},
    print::Printer,
    remark,
};
use crate::{cluster::Cluster, commands::Failure};

/// Times between two looks for new pods.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What there was.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) has_pods: bool,
    pub(super) has_lines: bool,
}

/// Prints the logs of a source.
pub(super) async fn show(cluster: &Cluster, source: &Source, flags: &LineFlags) -> Result<Seen, Failure> {
    if flags.follow { follow(cluster, source, flags).await } else { once(cluster, source, flags).await }
}

fn parameters(pod: &PodLog, flags: &LineFlags) -> LogParams {
    LogParams {
        container: Some(pod.container.clone()),
        follow: flags.follow,
        previous: flags.previous,
        since_seconds: flags.since.and_then(|since| i64::try_from(since.as_secs()).ok()),
        tail_lines: flags.tail,
        ..LogParams::default()
    }
}

async fn once(cluster: &Cluster, source: &Source, flags: &LineFlags) -> Result<Seen, Failure> {
    let api = Api::<Pod>::namespaced(cluster.client.clone(), &source.namespace);
    let all = pods(cluster, source).await?;
    let mut seen = Seen { has_pods: !all.is_empty(), has_lines: false };
    let mut printer = Printer::new();
    if all.len() > 1 {
        printer.tell_apart();
    }
    for pod in &all {
        if let LogState::Silent(why) = &pod.state {
            remark(&format!("{}: no log yet: {why}", pod.pod));
            continue;
        }
        let what = format!("read the log of pod \"{}\"", pod.pod);
        // The call ends when the log begins: reading it takes as long as it takes, and its bytes need not be UTF-8.
        match cluster.call(&what, api.log_stream(&pod.pod, &parameters(pod, flags))).await {
            Ok(stream) => {
                seen.has_lines = true;
                let mut stream = std::pin::pin!(stream);
                while let Some(line) = next_line(&mut stream).await? {
                    printer.line(&pod.pod, &line)?;
                }
            }
            // One pod of several may have gone in between.
            Err(error) if all.len() > 1 => remark(&format!("{}: {}", pod.pod, error.message)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(seen)
}

/// The next line, without its end; `None` at the end of the log.
async fn next_line(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(line))
}

/// What comes from the tasks that read.
enum Heard {
    Line(String, Vec<u8>),
    /// The container of this pod that was started so often is at its end, or cannot be read.
    End(String, i32, Option<String>),
}

struct Follower<'a> {
    cluster: &'a Cluster,
    source: &'a Source,
    flags: &'a LineFlags,
    sender: mpsc::Sender<Heard>,
    /// What is read now, or was read to its end: a pod, how often its container was started again, and when it ended.
    read: BTreeMap<(String, i32), Option<Timestamp>>,
    said: BTreeSet<String>,
    printer: Printer,
    seen: Seen,
}

async fn follow(cluster: &Cluster, source: &Source, flags: &LineFlags) -> Result<Seen, Failure> {
    let (sender, mut receiver) = mpsc::channel(256);
    let printer = Printer::new();
    let mut follower = Follower {
        cluster,
        source,
        flags,
        sender,
        read: BTreeMap::new(),
        said: BTreeSet::new(),
        printer,
        seen: Seen::default(),
    };
    let mut is_first = true;
    loop {
        let all = match pods(cluster, source).await {
            Ok(all) => all,
            Err(error) if is_first => return Err(error.into()),
            Err(error) => {
                follower.say(&error.message);
                Vec::new()
            }
        };
        let goes_on = follower.start(&all, is_first);
        is_first = false;
        let deadline = tokio::time::Instant::now() + LOOK_AGAIN;
        while let Ok(Some(heard)) = tokio::time::timeout_at(deadline, receiver.recv()).await {
            follower.hear(heard)?;
        }
        let is_reading = follower.read.values().any(Option::is_none);
        if !goes_on && !is_reading && !source.is_open {
            return Ok(follower.seen);
        }
    }
}

impl Follower<'_> {
    /// Begins to read what is not read yet. Tells whether there is, or may be, more to come.
    fn start(&mut self, all: &[PodLog], is_first: bool) -> bool {
        let mut goes_on = false;
        if all.is_empty() && is_first && self.source.is_open {
            self.say(&format!("{} has no pod yet", self.source.what));
        }
        self.seen.has_pods |= !all.is_empty();
        for pod in all {
            let key = (pod.pod.clone(), pod.restarts);
            match &pod.state {
                LogState::Silent(why) => {
                    goes_on = true;
                    let remark = format!("{}: no log yet: {why}", pod.pod);
                    self.say(&remark);
                    continue;
                }
                LogState::Running | LogState::Resting => goes_on = true,
                LogState::Ended => {}
            }
            let mut parameters = parameters(pod, self.flags);
            match self.read.get(&key) {
                // It is being read, or has been.
                Some(None) => continue,
                Some(Some(_)) if pod.state != LogState::Running => continue,
                // The connection broke, and the container goes on.
                Some(Some(ended)) => {
                    parameters.since_seconds = None;
                    parameters.tail_lines = None;
                    parameters.since_time = Some(*ended);
                }
                // What comes later is read from its beginning.
                None if !is_first => {
                    parameters.since_seconds = None;
                    parameters.tail_lines = None;
                }
                None => {}
            }
            self.read.insert(key, None);
            self.seen.has_lines = true;
            let pods: BTreeSet<_> = self.read.keys().map(|(pod, _)| pod).collect();
            if pods.len() > 1 {
                self.printer.tell_apart();
            }
            self.spawn(pod, parameters);
        }
        goes_on
    }

    fn spawn(&self, pod: &PodLog, parameters: LogParams) {
        let api = Api::<Pod>::namespaced(self.cluster.client.clone(), &self.source.namespace);
        let (cluster, sender, pod, restarts) =
            (self.cluster.clone(), self.sender.clone(), pod.pod.clone(), pod.restarts);
        tokio::spawn(async move {
            let what = format!("read the log of pod \"{pod}\"");
            let why = match cluster.call(&what, api.log_stream(&pod, &parameters)).await {
                Ok(stream) => {
                    let mut stream = std::pin::pin!(stream);
                    while let Ok(Some(line)) = next_line(&mut stream).await {
                        // Nobody listens any more.
                        if sender.send(Heard::Line(pod.clone(), line)).await.is_err() {
                            return;
                        }
                    }
                    None
                }
                Err(error) => Some(error.message),
            };
            let _ = sender.send(Heard::End(pod, restarts, why)).await;
        });
    }

    fn hear(&mut self, heard: Heard) -> Result<(), Failure> {
        match heard {
            Heard::Line(pod, line) => self.printer.line(&pod, &line)?,
            Heard::End(pod, restarts, why) => {
                self.read.insert((pod, restarts), Some(Timestamp::now()));
                if let Some(why) = why {
                    self.say(&why);
                }
            }
        }
        Ok(())
    }

    /// Says a thing once.
    fn say(&mut self, text: &str) {
        if self.said.insert(text.to_owned()) {
            remark(text);
        }
    }
}
