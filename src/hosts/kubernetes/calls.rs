//! The calls that make a Job and end one.

use jiff::Timestamp;
use kube::{
    api::{DeleteParams, GetParams, Preconditions, PropagationPolicy},
    core::Request,
};

use super::{
    KubernetesHost,
    failure::refused,
    job::MadeJob,
    keys,
    slim_job::{SlimJob, jobs_path},
};
use crate::{
    cluster::{ErrorKind, call},
    core::StartRun,
    hosts::{HostError, Started},
};

impl KubernetesHost {
    /// Makes the Job, and tells when it was made. One of the same run that is there already is as good.
    pub(super) async fn create(&self, run: &StartRun, made: &MadeJob) -> Result<(Started, Timestamp), HostError> {
        let what = format!("create the Job \"{}\" in namespace \"{}\"", run.name, self.namespace);
        let created = call(&what, async {
            let body = serde_json::to_vec(&made.job).map_err(kube::Error::SerdeError)?;
            let request = Request::new(jobs_path(&self.namespace));
            let request = request.create(&keys::as_us(), body).map_err(kube::Error::BuildRequest)?;
            let text = self.client.request_text(request).await?;
            serde_json::from_str::<SlimJob>(&text).map_err(kube::Error::SerdeError)
        })
        .await;
        match created {
            Ok(job) => Ok((Started::Created, job.created_at())),
            Err(error) if error.kind == ErrorKind::AlreadyExists => {
                self.whose(run).await.map(|created_at| (Started::AlreadyThere, created_at))
            }
            Err(error) => Err(refused(error, &self.namespace)),
        }
    }

    /// The name is taken: by the same run, and since when, or by somebody else?
    async fn whose(&self, run: &StartRun) -> Result<Timestamp, HostError> {
        let what = format!("get the Job \"{}\" in namespace \"{}\"", run.name, self.namespace);
        let found = call(&what, async {
            let request = Request::new(jobs_path(&self.namespace));
            let request = request.get(&run.name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
            let text = self.client.request_text(request).await?;
            serde_json::from_str::<SlimJob>(&text).map_err(kube::Error::SerdeError)
        })
        .await;
        let goes = || {
            HostError::Unavailable(format!("the Job \"{}\" is going away just now; a later pass starts it", run.name))
        };
        match found {
            Ok(job) => match job.belongs_to(&self.installation, &self.organization, &run.pool) {
                Ok(()) if job.is_being_deleted() => Err(goes()),
                Ok(()) => Ok(job.created_at()),
                Err(owner) => Err(HostError::Collision { name: run.name.clone(), owner }),
            },
            Err(error) if error.kind == ErrorKind::NotFound => Err(goes()),
            Err(error) => Err(refused(error, &self.namespace)),
        }
    }

    /// Deletes the Job of that uid, and with it its pods, which the API server does not do unless it is told to.
    pub(super) async fn delete(&self, name: &str, uid: &str) -> Result<(), HostError> {
        let what = format!("delete the Job \"{name}\" in namespace \"{}\"", self.namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let deleted = call(&what, async {
            let request = Request::new(jobs_path(&self.namespace));
            let request = request.delete(name, &params).map_err(kube::Error::BuildRequest)?;
            self.client.request_text(request).await.map(drop)
        })
        .await;
        match deleted {
            // Gone, or another one of that name by now.
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => Ok(()),
            other => other.map_err(|error| refused(error, &self.namespace)),
        }
    }
}
