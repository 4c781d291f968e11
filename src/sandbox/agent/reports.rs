//! What the worker of a job reports, with the token of the job: a record in the timeline, a log, and that the job has ended.

use reqwest::Method;
use serde_json::{Value, json};

use super::{answer::ClientError, client::Client, job::Job};

/// Where a worker reports.
pub(super) struct Reports {
    client: Client,
    plan: String,
    timeline: String,
    job_id: String,
}

impl Reports {
    /// A job whose message names no connection cannot be run.
    pub(super) fn of(job: &Job, client: &Client) -> Result<Self, ClientError> {
        let token = job.token().cloned();
        let token = token.ok_or_else(|| ClientError::Failed("the job has no SystemVssConnection".to_owned()))?;
        Ok(Self {
            client: client.for_job(token),
            plan: job.plan_path(),
            timeline: job.timeline_path(),
            job_id: job.job_id.clone(),
        })
    }

    /// The job has begun. That nobody hears it changes nothing, here and below.
    pub(super) async fn begin(&self) {
        self.record(&json!({ "state": "inProgress" })).await;
        let line = json!({ "count": 1, "value": ["Starting"], "stepId": self.job_id });
        let path = format!("{}/records/{}/feed", self.timeline, self.job_id);
        let _ = self.client.try_call(Method::POST, &path, Some(&line)).await;
    }

    /// The steps have ended.
    pub(super) async fn end(&self, result: &str) {
        let logs = format!("{}/logs", self.plan);
        let log = self.client.try_call(Method::POST, &logs, Some(&json!({ "path": "logs\\job" }))).await;
        if let Some(id) = log.ok().and_then(|log| log["id"].as_i64()) {
            let _ = self.client.try_call(Method::POST, &format!("{logs}/{id}"), Some(&json!("Finishing"))).await;
        }
        self.record(&json!({ "state": "completed", "result": result, "percentComplete": 100 })).await;
    }

    /// The job has ended; if `last`, its agent takes no other one.
    pub(super) async fn complete(&self, request: i64, result: &str, last: bool) -> Result<Value, ClientError> {
        let event = json!({
            "name": "JobCompleted",
            "jobId": self.job_id,
            "requestId": request,
            "result": result,
            "agentShuttingDown": last,
        });
        self.client.call(Method::POST, &format!("{}/events", self.plan), &[], Some(&event)).await
    }

    async fn record(&self, fields: &Value) {
        let mut record = json!({ "id": self.job_id, "type": "Job", "name": "__default" });
        for (name, value) in fields.as_object().into_iter().flatten() {
            record[name.as_str()] = value.clone();
        }
        let body = json!({ "count": 1, "value": [record] });
        let _ = self.client.try_call(Method::PATCH, &format!("{}/records", self.timeline), Some(&body)).await;
    }
}
