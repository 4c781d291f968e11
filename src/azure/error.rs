//! Why no token of Entra could be had: what each link of the chain said, and what would mend it.

use std::fmt;

/// What one link of the chain said. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The link: `ManagedIdentityCredential`.
    pub link: &'static str,
    /// What it said, in one line.
    pub what: String,
}

/// No token of Entra could be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraError {
    said: Vec<Said>,
    fix: String,
    may_pass: bool,
}

impl EntraError {
    pub(super) fn new(said: Vec<Said>, fix: String) -> Self {
        Self { said, fix, may_pass: false }
    }

    pub(super) fn passing(self, may_pass: bool) -> Self {
        Self { may_pass, ..self }
    }

    /// Whether the same may work a moment later: nobody answered, or whoever did has troubles of its own.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// What each link said, in the order in which they were tried.
    #[must_use]
    pub fn said(&self) -> &[Said] {
        &self.said
    }

    /// One line that says how to mend it.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.fix
    }

    /// All of it in one line, for logs and the status.
    #[must_use]
    pub fn one_line(&self) -> String {
        let said: Vec<_> = self.said.iter().map(|said| format!("{}: {}", said.link, said.what)).collect();
        format!("no token of Entra: {}", said.join("; "))
    }
}

impl fmt::Display for EntraError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no token of Entra could be had")?;
        for Said { link, what } in &self.said {
            write!(f, "\n  {link}: {what}")?;
        }
        Ok(())
    }
}

impl std::error::Error for EntraError {}
