//! Where a setting was found, so that whatever is said about it names the place.

use std::fmt;

use super::error::Problems;

/// A place where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An environment variable.
    Variable(&'static str),
    /// A key of a file: `ado.yaml:3:8` and `organization.url`.
    File { place: String, key: String },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File { place, key } => write!(f, "{place}: {key}"),
        }
    }
}

/// A setting's value and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// The file's word where it has one, else the other's. Two that contradict each other are a warning, if the one that
/// is not used is a variable: within a file, what is more specific overrides on purpose.
pub(super) fn prefer<T: PartialEq>(
    file: Option<Found<T>>,
    other: Option<Found<T>>,
    problems: &Problems,
) -> Option<Found<T>> {
    if let (Some(file), Some(other)) = (&file, &other)
        && let Origin::Variable(name) = other.origin
        && file.value != other.value
    {
        problems.warn(format!("{name} is not used: {} says otherwise, and the file wins", file.origin));
    }
    file.or(other)
}
