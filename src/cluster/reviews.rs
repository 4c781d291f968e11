//! Who may do what, asked of the cluster: for oneself, and for an account that is not ours.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};

use super::{Cluster, ClusterError};

/// A verb on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// `create`
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// `jobs`, or with a subresource `pods/log`.
    pub resource: String,
}

impl Right {
    /// A verb on a resource of a group.
    #[must_use]
    pub fn new(verb: &str, group: &str, resource: &str) -> Self {
        Self { verb: verb.to_owned(), group: group.to_owned(), resource: resource.to_owned() }
    }

    fn attributes(&self, namespace: &str) -> ResourceAttributes {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        ResourceAttributes {
            verb: Some(self.verb.clone()),
            group: Some(self.group.clone()),
            resource: Some(resource.to_owned()),
            subresource: (!subresource.is_empty()).then(|| subresource.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ResourceAttributes::default()
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, group, resource } = self;
        if group.is_empty() { write!(f, "{verb} {resource}") } else { write!(f, "{verb} {resource}.{group}") }
    }
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// Its user name: `system:serviceaccount:NAMESPACE:NAME`.
    #[must_use]
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// The groups that it is in.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let own = format!("system:serviceaccounts:{}", self.namespace);
        vec!["system:serviceaccounts".to_owned(), own, "system:authenticated".to_owned()]
    }
}

/// What the cluster says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allowed,
    /// It may not.
    Denied,
}

fn decision(allowed: bool) -> Decision {
    if allowed { Decision::Allowed } else { Decision::Denied }
}

/// Whether the caller has a right in a namespace.
///
/// # Errors
///
/// The cluster does not say.
pub async fn may_i(cluster: &Cluster, right: &Right, namespace: &str) -> Result<Decision, ClusterError> {
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(right.attributes(namespace)),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = cluster.call("ask what you may do", api.create(&PostParams::default(), &review)).await?;
    Ok(decision(answer.status.is_some_and(|status| status.allowed)))
}

/// Whether an account has a right in a namespace.
///
/// # Errors
///
/// The cluster does not say; most people may not ask this.
pub async fn may_account(
    cluster: &Cluster,
    account: &Account,
    right: &Right,
    namespace: &str,
) -> Result<Decision, ClusterError> {
    let spec = SubjectAccessReviewSpec {
        resource_attributes: Some(right.attributes(namespace)),
        user: Some(account.user()),
        groups: Some(account.groups()),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(cluster.client.clone());
    let what = format!("ask what {} may do", account.user());
    let answer = cluster.call(&what, api.create(&PostParams::default(), &review)).await?;
    Ok(decision(answer.status.is_some_and(|status| status.allowed)))
}
