//! The pure heart: what is observed, what is wanted, and what to do about the difference.
//!
//! Nothing here reads a clock, a socket, a file or the environment, and nothing is async. The edges observe the
//! world into a [`Snapshot`], [`plan`] turns it into a [`Plan`] at a moment that is passed in, and the edges act on
//! it. Every reason for an action, and for an action not taken, is part of the plan.

mod action;
mod attempts;
mod classes;
mod clock_skew;
mod control;
mod demand;
mod demand_sets;
mod duplicates;
mod expectations;
mod finding;
mod findings;
mod health;
mod host_kind;
mod lease;
mod lease_watch;
mod lifecycle;
mod matching;
mod memory;
mod model;
mod name;
mod placeholder;
mod plan;
mod planner;
mod policy;
mod pool_report;
mod quick_hash;
mod recipe;
mod remains;
mod report;
mod roster;
mod run_report;
mod schedule;
mod shell;
mod sight;
mod supply;
mod survey;
pub mod uninstall;
mod upkeep;
mod verdict;
mod verdict_report;

pub use action::{AgentAction, AgentChange, DeregisterReason, DisableReason, Placeholder, StopReason, StopRun};
pub use attempts::LONGEST_BACK_OFF;
pub use clock_skew::clock_skew;
pub use control::{ALL_POOLS, Control};
pub use demand::{Capabilities, Demand, DemandTest};
pub use expectations::Expectations;
pub use finding::{Code, Finding, Severity, UnknownCode};
pub use findings::Since;
pub use host_kind::HostKind;
pub use lease::{Election, LeaseRecord, LeaseStep, LeaseTiming, LeaseView, Moment, ObservedLease};
pub use lease_watch::LeaseWatch;
pub use memory::{Ending, Found, Memory};
pub use model::{
    Agent, AgentId, AgentRef, Clocks, INSTALLATION_CAPABILITY, JobRequest, ParallelJobs, PoolSnapshot, Progress,
    Purpose, REGISTRATION_CAPABILITY, RequestId, Run, RunPhase, Snapshot, Stage, Trouble, TroubleKind,
};
pub use name::{
    DEFAULT_PREFIX, Installation, MAX_NAME_LENGTH, clean_prefix, is_same_name, lease_name, pool_label, run_name,
    short_hash,
};
pub use placeholder::{placeholder, was_just_in_time};
pub use plan::{Counts, Plan, PoolPlan, StartRun, plan};
pub use policy::{AgentTemplate, Policy, PoolPolicy, Retention, Scale, Timeouts};
pub use pool_report::{PoolView, cap, pool_report};
pub use recipe::{EquipRun, Held, Recipe};
pub use remains::Remains;
pub use report::{
    API_VERSION, AgentOwner, AgentReport, Condition, OrchestratorReport, OrganizationReport, Pause, PoolReport,
    PoolState, Report, RequestReport, TemplateReport, VerdictReport,
};
pub use run_report::{RunReport, RunState, run_reports};
pub use schedule::{Schedule, Weekday};
pub use shell::{shell_operand, shell_word};
pub use verdict::{LimitScope, Verdict};
pub use verdict_report::REGISTRATION_FIX;
