//! What is written down: lines of JSON, each at once, so that a run can be watched.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use serde_json::Value;

pub(crate) struct Log(Option<File>);

impl Log {
    /// Without a file everything goes to the standard error output.
    pub(crate) fn open(path: Option<&Path>) -> Self {
        Self(path.map(|path| OpenOptions::new().create(true).append(true).open(path).unwrap()))
    }

    pub(crate) fn line(&mut self, line: &Value) {
        match &mut self.0 {
            Some(file) => writeln!(file, "{line}").unwrap(),
            // Nobody may be there to read it.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }
}
