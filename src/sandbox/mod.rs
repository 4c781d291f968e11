//! A stateful stand-in for Azure DevOps, for `kubectl-ado demo` and for the tests.
pub mod state;
/// The version of the agent's software that the sandbox pretends to have.
pub const AGENT_VERSION: &str = "4.260.0";
