//! What the kinds of objects that are watched have in common.

use serde::de::DeserializeOwned;

/// A kind of object that is watched: the few fields that are read of it become what is kept of it.
pub(super) trait Slim: DeserializeOwned + Clone + Send + 'static {
    /// What is kept.
    type Kept: PartialEq + Send;
    /// How a sentence calls them.
    const WHAT: &'static str;
    /// Their path in a namespace.
    fn path(namespace: &str) -> String;
    fn name(&self) -> &str;
    /// The resource version, from which a watch goes on.
    fn version(&self) -> &str;
    fn keep(self, organization: &str) -> Self::Kept;
}
