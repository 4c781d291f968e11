//! A Job that is held: it gets no pod until its agent is registered. A Job whose suspension is somebody else's business,
//! its template's or Kueue's, keeps it; its pod, whenever it comes, waits for the Secret with the agent's files.

use crate::{
    core::Held,
    hosts::{
        json::{Node, TemplateError},
        kubernetes::{keys, slim_job::held_mark},
    },
};

/// The label by which Kueue takes a Job into a queue; it was an annotation once.
const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// Holds a Job. Without a mark it is suspended and nobody is said to go on with it.
pub(super) fn hold(root: &mut Node<'_>, held: Option<&Held>) -> Result<(), TemplateError> {
    let is_queued = {
        let mut metadata = root.child("metadata")?;
        metadata.child("labels")?.has(KUEUE_QUEUE) || metadata.child("annotations")?.has(KUEUE_QUEUE)
    };
    let mut spec = root.child("spec")?;
    let is_theirs = is_queued || spec.map.get("suspend").is_some_and(|suspend| *suspend == true);
    if !is_theirs {
        spec.set("suspend", true);
    }
    let mut metadata = root.child("metadata")?;
    let mut annotations = metadata.child("annotations")?;
    if is_theirs {
        annotations.set(keys::OWN_SUSPEND, "true");
    }
    if let Some(held) = held {
        annotations.set(keys::HELD, held_mark(held));
    }
    Ok(())
}
