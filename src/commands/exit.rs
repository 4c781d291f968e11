//! How a command ends: its exit code, and the lines that say why.

use std::{fmt, process::ExitCode};

/// The exit codes, the same for every command and every `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or healthy.
    Done,
    /// It could not be done.
    Failed,
    /// Wrong usage or a bad configuration. The parser of arguments uses the same number.
    Usage,
    /// It was done, and the answer is bad.
    Bad,
    /// Waiting took too long.
    TimedOut,
    /// Interrupted by SIGINT.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Bad => 3,
            Self::TimedOut => 4,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command did not do what it should: the exit code, and one or more lines for a person.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong, each with the line that mends it.
    pub causes: Vec<(String, Option<String>)>,
}

impl Failure {
    /// A failure with one cause.
    pub fn new(exit: Exit, message: impl Into<String>, fix: Option<String>) -> Self {
        Self { exit, causes: vec![(message.into(), fix)] }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (message, fix) in &self.causes {
            writeln!(f, "error: {message}")?;
            if let Some(fix) = fix {
                writeln!(f, "fix: {fix}")?;
            }
        }
        Ok(())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{error:#}"), None)
    }
}

impl From<std::io::Error> for Failure {
    /// A reader that went away (`| head`) is no failure.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Done, causes: Vec::new() };
        }
        Self::new(Exit::Failed, error.to_string(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_end_has_the_number_that_the_documentation_gives_it() {
        let all = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Bad, 3),
            (Exit::TimedOut, 4),
            (Exit::Interrupted, 130),
            (Exit::Terminated, 143),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code);
        }
    }

    #[test]
    fn a_reader_that_went_away_ends_a_command_well() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit, failure.to_string().as_str()), (Exit::Done, ""));
    }
}
