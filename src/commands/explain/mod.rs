//! `explain`: why a job request waits, what stops a pool, what a Job is at, what a code means. From the status and the
//! cluster alone.

mod answer;
mod common;
mod job;
mod pool;
mod request;

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::json;

use answer::Explanation;
use common::Known;

use super::{
    Exit, Failure,
    observed::{InstallStatus, Selection, Source, StatusFlags, or_interrupted},
};
use crate::{
    core::{API_VERSION, Code, RequestId},
    hosts::kubernetes::{AgentJob, why_no_pod},
    output::{Paint, columns, wrap, write_json, write_yaml},
};

/// Explain why a job request waits, what stops a pool, what a Job is at, or what a code means
///
/// Tests are made in their order and shown with their evidence up to the first that fails: that one is the answer, with
/// the line that mends it. The exit code is 3 while something stops it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The number of a job request, the URL of a pipeline run, the name of a pool or a Job, or a code such as ADO101
    #[arg(value_name = "REQUEST|URL|POOL|JOB|CODE")]
    subject: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
    #[command(flatten)]
    from: StatusFlags,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    #[default]
    Text,
    /// For machines
    Json,
    /// For machines and people
    Yaml,
}

/// Lines longer than this are hard to read.
const WIDEST: usize = 100;

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let is_code = self.subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ado"))
            && self.subject.len() > 3
            && self.subject.chars().skip(3).all(|c| c.is_ascii_digit());
        if is_code {
            return match self.subject.parse::<Code>() {
                Ok(code) => self.code(code),
                // Azure DevOps 2022 invites to call a pool so.
                Err(_) if self.is_pool().await => or_interrupted(self.explain()).await,
                Err(error) => Err(Failure::new(Exit::Usage, error.to_string(), Some(codes()))),
            };
        }
        or_interrupted(self.explain()).await
    }

    /// Whether a pool is called like that.
    async fn is_pool(&self) -> bool {
        let Ok(source) = self.from.open() else { return false };
        source.look().await.is_ok_and(|status| status.pool(&self.subject).is_some())
    }

    fn code(&self, code: Code) -> Result<Exit, Failure> {
        let mut out = io::stdout().lock();
        let document = json!({
            "apiVersion": API_VERSION,
            "kind": "CodeExplanation",
            "code": code,
            "severity": code.severity(),
            "reason": code.reason(),
            "title": code.title(),
            "about": code.about(),
        });
        match self.output {
            Form::Json => write_json(&mut out, &document)?,
            Form::Yaml => write_yaml(&mut out, &document)?,
            Form::Text => {
                let width = columns().unwrap_or(WIDEST).min(WIDEST);
                writeln!(out, "{code} {} ({})\n", code.title(), code.severity())?;
                writeln!(out, "{}", wrap(code.about(), 0, Some(width)))?;
            }
        }
        Ok(Exit::Done)
    }

    async fn explain(&self) -> Result<Exit, Failure> {
        let source = self.from.open()?;
        let status = source.look().await?;
        let now = Timestamp::now();
        let explanations = explanations(&source, &Known { status: &status, now }, &self.subject).await?;
        self.print(&explanations)?;
        let is = |code: Code| explanations.iter().filter_map(Explanation::stop).any(|test| test.code == Some(code));
        if is(Code::RequestUnknown) {
            return Ok(Exit::Failed);
        }
        Ok(if explanations.iter().any(|one| one.stop().is_some()) { Exit::Bad } else { Exit::Done })
    }

    fn print(&self, explanations: &[Explanation]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let document = || {
            let stop = explanations.iter().find_map(Explanation::stop);
            json!({
                "apiVersion": API_VERSION,
                "kind": "Explanation",
                "stopped": stop.is_some(),
                "code": stop.and_then(|test| test.code),
                "fix": stop.and_then(|test| test.fix.as_ref()),
                "explanations": explanations,
            })
        };
        match self.output {
            Form::Json => write_json(&mut out, &document())?,
            Form::Yaml => write_yaml(&mut out, &document())?,
            Form::Text => {
                for (index, explanation) in explanations.iter().enumerate() {
                    if index > 0 {
                        writeln!(out)?;
                    }
                    explanation.write(&mut out, Paint::stdout(), columns())?;
                }
            }
        }
        out.flush()
    }
}

fn codes() -> String {
    let all: Vec<_> = Code::ALL.iter().map(Code::to_string).collect();
    format!("one of {}", all.join(" "))
}

/// What the words mean, and why it is so.
async fn explanations(source: &Source<'_>, known: &Known<'_>, subject: &str) -> Result<Vec<Explanation>, Failure> {
    let status = known.status;
    if subject.contains("://") {
        let ids = of_pipeline_run(status, subject);
        if ids.is_empty() {
            return Ok(vec![request::unknown(known, subject, &[])]);
        }
        let mut all = Vec::new();
        for id in ids {
            all.push(of_request(source, known, id).await);
        }
        return Ok(all);
    }
    if let Some(pool) = status.pool(subject) {
        return Ok(vec![pool::explain(known, pool)]);
    }
    if let Ok(number) = subject.parse() {
        return Ok(vec![of_request(source, known, RequestId(number)).await]);
    }
    let name = subject.rsplit_once('/').map_or(subject, |(_, name)| name);
    let jobs = source.jobs(status, Selection::default()).await;
    match jobs {
        Ok(jobs) => {
            if let Some(job) = jobs.jobs.into_iter().find(|job| job.name == name) {
                let job = with_refusal(source, &status.agents_namespace, job).await;
                return Ok(vec![job::explain(known, &job)]);
            }
        }
        // A name that is no pool's may well be a Job's.
        Err(error) if !status.pools.is_empty() => return Err(error.into()),
        Err(_) => {}
    }
    // Without a report nobody knows the pools, and why there is none is the answer.
    let unreported = pool::unreported(known, subject);
    if status.pools.is_empty() && unreported.stop().is_some() {
        return Ok(vec![unreported]);
    }
    let message = format!(
        "\"{subject}\" is no job request, no {} and no pool; the pools: {}",
        status.host().noun(),
        status.pool_names()
    );
    Err(Failure::new(Exit::Failed, message, Some("kubectl ado queue, jobs and pools list what there is".to_owned())))
}

async fn of_request(source: &Source<'_>, known: &Known<'_>, id: RequestId) -> Explanation {
    let selection = Selection { request: Some(id), ..Selection::default() };
    let namespace = &known.status.agents_namespace;
    // Who may not see Jobs is told what the status says.
    let jobs = source.jobs(known.status, selection).await.map(|found| found.jobs).unwrap_or_default();
    let mut all = Vec::new();
    for job in jobs {
        all.push(with_refusal(source, namespace, job).await);
    }
    match request::find(known.status, id) {
        Some((pool, found)) => request::explain(known, pool, found, &all),
        None => request::unknown(known, &id.to_string(), &all),
    }
}

/// A Job without a pod, with what Events say of it.
async fn with_refusal(source: &Source<'_>, namespace: &str, mut job: AgentJob) -> AgentJob {
    if job.progress.is_none()
        && job.phase == crate::core::RunPhase::Live
        && let Some(cluster) = source.cluster()
    {
        job.trouble = why_no_pod(cluster, namespace, &job.name).await;
    }
    job
}

/// The job requests of a pipeline run: by its number in the address, else by the address as it is.
fn of_pipeline_run(status: &InstallStatus, url: &str) -> Vec<RequestId> {
    let wanted = build_id(url);
    let requests = status.pools.iter().flat_map(|pool| &pool.requests);
    let is_wanted = |theirs: &str| match wanted {
        Some(wanted) => build_id(theirs) == Some(wanted),
        None => theirs == url,
    };
    requests.filter(|request| request.url.as_deref().is_some_and(is_wanted)).map(|request| request.id).collect()
}

/// `…/_build/results?buildId=123&view=results`.
fn build_id(url: &str) -> Option<&str> {
    let query = url.split_once('?')?.1;
    let pairs = query.split(['&', '#']).filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("buildId")).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_run_is_known_by_its_number() {
        let url = "https://dev.azure.com/contoso/web/_build/results?view=results&buildId=123";
        assert_eq!(build_id(url), Some("123"));
        assert_eq!(build_id("https://dev.azure.com/contoso"), None);
    }
}
