//! Azure Resource Manager, as far as container groups need it.
//!
//! Every call has a deadline, and none waits for what Azure goes on doing after its answer. What Azure says of our haste is
//! held to by all calls of the kind: reads, writes and deletions each have an allowance of their own.

mod client;
mod error;
mod lanes;

pub use client::{Answer, ArmClient};
pub use error::ArmError;
pub use lanes::Sort;
