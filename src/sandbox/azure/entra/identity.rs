//! Managed identities: which one a machine means.

use jiff::Timestamp;

use super::{Application, Given, Managed, SignIn, Tenant};

/// How the identity is named.
#[derive(Clone, Copy, Debug)]
pub(in crate::sandbox::azure) enum Which<'a> {
    /// Not at all.
    Any,
    ClientId(&'a str),
    ObjectId(&'a str),
    ResourceId(&'a str),
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox::azure) enum NoIdentity {
    /// There is none, or none that is named so.
    NotFound,
    /// There are several, and none is named.
    Ambiguous,
    /// There is no such resource.
    Resource,
}

impl Tenant {
    /// A token for an identity of this machine.
    pub(in crate::sandbox::azure) fn identity(
        &self,
        which: Which<'_>,
        resource: &str,
        by: SignIn,
        origin: &str,
        now: Timestamp,
    ) -> Result<Given, NoIdentity> {
        let application = self.which(which)?;
        self.knows(resource, origin).map_err(|_| NoIdentity::Resource)?;
        self.give(application, resource, by, now).ok_or(NoIdentity::NotFound)
    }

    fn which(&self, which: Which<'_>) -> Result<&Application, NoIdentity> {
        let managed = || self.applications.iter().filter(|one| one.managed.is_some());
        let found = match which {
            Which::ClientId(id) => managed().find(|one| one.client_id.eq_ignore_ascii_case(id)),
            Which::ObjectId(id) => managed().find(|one| one.object_id.eq_ignore_ascii_case(id)),
            Which::ResourceId(id) => managed()
                .find(|one| matches!(&one.managed, Some(Managed::User(resource)) if resource.eq_ignore_ascii_case(id))),
            Which::Any => match managed().find(|one| one.managed == Some(Managed::System)) {
                Some(own) => Some(own),
                None if managed().nth(1).is_some() => return Err(NoIdentity::Ambiguous),
                None => managed().next(),
            },
        };
        found.ok_or(NoIdentity::NotFound)
    }
}
