//! Azure itself: tokens of Entra, and the clouds that they are had in.
//!
//! [`Credential`] is the chain that Azure's SDKs call `DefaultAzureCredential`, as plain HTTP: whoever needs a token asks it
//! each time, and it keeps the token until shortly before its end. [`OrganizationToken`] is what Azure DevOps is signed in
//! to with, be it a personal access token or one of Entra.

mod aadsts;
pub mod arm;
mod authorities;
mod cache;
mod certificate;
mod chain;
mod client_secret;
mod cloud;
mod credential;
mod endpoint;
mod error;
mod link;
mod managed_identity;
mod organization;
mod scrub;
mod text;
mod token;
mod tools;
mod transport;
mod workload_identity;

#[cfg(test)]
mod tests;

pub use cloud::Cloud;
pub use credential::Credential;
pub use error::{EntraError, Said};
pub use organization::{AZURE_DEVOPS, OrganizationToken, TokenError};
pub use token::AccessToken;
pub use transport::{SetupError, http_client};

pub(crate) use scrub::without_tokens;
pub(crate) use text::readable;
pub(crate) use transport::{causes, innermost};
