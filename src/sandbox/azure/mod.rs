//! A stateful stand-in for the parts of Azure that agents in container groups need: Entra's token endpoint, managed
//! identity, and Azure Resource Manager's container groups.
//!
//! [`groups`] is a pure state machine with the clock passed in, `entra` a tenant, `http` what is served on loopback, and
//! `processes` what makes a running group really run: the agent's start script, as a process with the group's environment.
//! As in the rest of the sandbox there are no private endpoints; [`AzureSandbox`] is the handle of the process that runs
//! one. Facts: the project's facts about Azure, §2 and §6.

mod entra;
mod faults;
pub mod groups;
mod handle;
mod http;
mod processes;
mod settings;
mod shared;

pub use entra::{Application, Managed, Principal, SignIn, Tokens};
pub use faults::{AzureFault, AzureFaultKind};
pub use groups::{AzureRules, Bucket, GroupRecord};
pub use handle::AzureSandbox;
pub use settings::AzureSettings;
