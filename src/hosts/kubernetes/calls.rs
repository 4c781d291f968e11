//! The calls that make a Job, change one and end one.

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use kube::{
    api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::Request,
};
use serde_json::Value;

use super::{
    KubernetesHost,
    failure::refused,
    feed,
    job::MadeJob,
    keys,
    secret_calls::METADATA_ONLY,
    slim::Slim,
    slim_job::{SlimJob, jobs_path},
    slim_pod::SlimPod,
};
use crate::{
    cluster::{ClusterError, ErrorKind, call},
    core::StartRun,
    hosts::{HostError, Started},
};

/// How a deletion came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deleted {
    /// It is gone, or was before.
    Gone,
    /// It is another one by now, or another version: it was left alone.
    Changed,
}

impl KubernetesHost {
    /// Makes the Job, and gives it. One of the same run that is there already is as good.
    pub(super) async fn create(&self, run: &StartRun, made: &MadeJob) -> Result<(Started, SlimJob), HostError> {
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
            Ok(job) => Ok((Started::Created, job)),
            Err(error) if error.kind == ErrorKind::AlreadyExists => {
                self.known(run).await.map(|job| (Started::AlreadyThere, job))
            }
            Err(error) => Err(refused(error, &self.namespace)),
        }
    }

    /// The name is taken: by the same run, or by somebody else?
    async fn known(&self, run: &StartRun) -> Result<SlimJob, HostError> {
        let goes = || {
            HostError::Unavailable(format!("the Job \"{}\" is going away just now; a later pass starts it", run.name))
        };
        let Some(job) = self.get(&run.name).await? else { return Err(goes()) };
        match job.belongs_to(&self.installation, &self.organization, &run.pool) {
            Ok(()) if job.is_being_deleted() => Err(goes()),
            Ok(()) => Ok(job),
            Err(owner) => Err(HostError::Collision { name: run.name.clone(), owner }),
        }
    }

    /// Deletes the Job of that uid if no node has taken a pod of it. What decided so may be many seconds old, and by now
    /// the agent may be there and busy; so it is looked again, and the Job has to be as it was then when it is deleted.
    pub(super) async fn delete_unplaced(&self, name: &str, uid: &str) -> Result<(), HostError> {
        let Some(job) = self.get(name).await?.filter(|job| job.uid() == uid) else { return Ok(()) };
        let what = format!("list the pods of the Job \"{name}\" in namespace \"{}\"", self.namespace);
        let params = ListParams::default().labels(&format!("job-name={name}"));
        let mut is_placed = false;
        let look = |pod: SlimPod| is_placed |= pod.is_placed_for(uid);
        let listed = feed::list(&self.client, &what, &SlimPod::path(&self.namespace), params, look).await;
        listed.map_err(|error| refused(error, &self.namespace))?;
        if is_placed {
            return Err(HostError::Unavailable(format!("the agent \"{name}\" has found a place and is left alone")));
        }
        match self.delete(name, uid, Some(job.version())).await? {
            Deleted::Gone => Ok(()),
            Deleted::Changed => {
                Err(HostError::Unavailable(format!("the Job \"{name}\" has just changed; a later pass decides anew")))
            }
        }
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<SlimJob>, HostError> {
        let what = format!("get the Job \"{name}\" in namespace \"{}\"", self.namespace);
        let found = call(&what, async {
            let request = Request::new(jobs_path(&self.namespace));
            let request = request.get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
            let text = self.client.request_text(request).await?;
            serde_json::from_str::<SlimJob>(&text).map_err(kube::Error::SerdeError)
        })
        .await;
        match found {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused(error, &self.namespace)),
        }
    }

    /// Changes a Job by a JSON patch, all of it or nothing. Where one of its tests fails, the error is of the kind `Invalid`.
    ///
    /// Not by resource version: the Job controller writes the Job's status whenever it likes, which would be a conflict. A
    /// JSON patch is applied anew by the API server when that happens, tests included.
    pub(super) async fn patch(&self, what: &str, name: &str, operations: &Value) -> Result<(), ClusterError> {
        let what = format!("{what} the Job \"{name}\" in namespace \"{}\"", self.namespace);
        call(&what, async {
            let params = PatchParams { field_manager: Some(keys::US.to_owned()), ..PatchParams::default() };
            let request = Request::new(jobs_path(&self.namespace));
            // As a merge patch, since kube makes JSON patches from types of another crate alone.
            let mut request =
                request.patch(name, &params, &Patch::Merge(operations)).map_err(kube::Error::BuildRequest)?;
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json-patch+json"));
            headers.insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
            self.client.request_text(request).await.map(drop)
        })
        .await
    }

    /// Deletes the Job of that uid, and that version if one is given, and with it its pods, which the API server does not
    /// do unless it is told to.
    pub(super) async fn delete(&self, name: &str, uid: &str, version: Option<&str>) -> Result<Deleted, HostError> {
        let what = format!("delete the Job \"{name}\" in namespace \"{}\"", self.namespace);
        let (uid, resource_version) = (Some(uid.to_owned()), version.map(str::to_owned));
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version }),
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
            Ok(()) => Ok(Deleted::Gone),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Deleted::Gone),
            Err(error) if error.kind == ErrorKind::Conflict => Ok(Deleted::Changed),
            Err(error) => Err(refused(error, &self.namespace)),
        }
    }
}
