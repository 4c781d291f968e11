//! Kubernetes as its users know it: which cluster, through which proxy, with a deadline on every call and errors in
//! people's words. What a call is for is the business of the rooms that make it.

mod access;
mod call;
mod changes;
mod client;
mod control;
mod dates;
mod dry_run;
mod error;
mod installs;
mod kinds;
mod kubeconfig;
mod lease;
mod manifests;
mod objects;
mod observe;
mod owners;
mod proxy;
mod reports;
mod reviews;
mod rollout;
mod status_store;

pub use access::Cluster;
pub use call::{DEADLINE, call};
pub use changes::{Change, changed_lines, changes};
pub use client::{Access, connect, connect_by, contexts};
pub use control::change_control;
pub use dry_run::{dry_run_apply, dry_run_create, dry_run_create_strictly};
pub use error::{ClusterError, ErrorKind};
pub use installs::{
    CONTROL_KEY, INSTALL_LABELS, Install, STATUS_KEY, STATUS_LABELS, control_name, find_installs, status_name,
};
pub use kinds::{known_kind, resolve_kind};
pub use lease::{LeaseStore, NamedLease};
pub use manifests::{
    CLIENT_ID, CONFIG_FILE, CONFIG_FOLDER, CONFIG_MAP, INVENTORY, NAME, Parts, RESOURCES, TOKEN_KEY, TOKEN_SECRET,
    namespace_object, render, token_secret,
};
pub use objects::{Apply, FIELD_MANAGER, ObjectRef, conflicting_managers};
pub use observe::{LeaseSeen, Observation, PodSeen, Rollout, Section, StatusSeen, image_tag, observe, observe_status};
pub use owners::{applied_by_us, owner};
pub use proxy::environment_proxy;
pub use reports::{Reported, read_reports};
pub use reviews::{Account, Decision, Right, may_account, may_i};
pub use rollout::{Restarts, RolloutProgress, is_backing_off, judge_rollout, pods_of};
pub use status_store::{Happening, NamedStatus, StatusStore, Subject};
