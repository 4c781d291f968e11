//! Just-in-time agents: the orchestrator registers the agent, and the agent's pod gets three small files that let it act
//! as that one agent until it is removed. No token of the organization is in the pod.

mod assertion;
mod files;
mod key;

#[cfg(test)]
mod tests;

pub use assertion::{SigningError, assertion};
pub use files::{AgentFiles, RegisteredAgent, token_endpoint};
pub use key::{AgentKey, KeyError};
