//! What the commands that observe have in common: they look the same way, at the same document, and list, watch and wait
//! the same way.

mod ask;
mod document;
mod judge;
mod list;
mod look;
mod repeat;
mod reported;
mod source;

pub(super) use ask::{Ask, AskFlags, Asked, DryRun, in_words};
pub(super) use document::{InstallStatus, PlacedFinding};
pub(super) use judge::{CLOCKS_DIFFER, UPGRADE_THE_PLUGIN, is_newer, is_other_version, since, versions_fix};
pub(super) use list::{Column, ListFlags, Listed, Row, print_list};
pub(super) use look::look;
pub(super) use repeat::{LOOK_AGAIN, or_interrupted};
pub(super) use reported::{ReportedFlags, doubts, one_pool, unknown_pool};
pub(super) use source::{Selection, Source, StatusFlags};
