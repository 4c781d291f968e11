//! Log lines on standard output, each with its pod where there are several.

use std::io::{self, IsTerminal, Write};

use crate::output::harmless;

/// Prints lines of pods.
pub(super) struct Printer {
    is_terminal: bool,
    has_prefix: bool,
}

impl Printer {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), has_prefix: false }
    }

    /// From now on each line says whose it is.
    pub(super) fn tell_apart(&mut self) {
        self.has_prefix = true;
    }

    /// One line, without its end. What agents print is other people's text: on a terminal it loses its power, through a
    /// pipe it is as it was.
    pub(super) fn line(&self, pod: &str, line: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.has_prefix {
            write!(out, "[{}] ", harmless(pod))?;
        }
        if self.is_terminal {
            let text = String::from_utf8_lossy(line);
            let parts: Vec<_> = text.split('\t').map(harmless).collect();
            out.write_all(parts.join("\t").as_bytes())?;
        } else {
            out.write_all(line)?;
        }
        out.write_all(b"\n")?;
        out.flush()
    }
}
