//! Real HTTP on loopback around the tenant and its container groups: Entra, the instance metadata service and Azure
//! Resource Manager on one port, told apart by their paths.

mod arm;
mod identity;
mod oauth;
mod reply;
mod server;
#[cfg(test)]
mod tests;

pub(super) use server::serve;
