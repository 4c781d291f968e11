//! Where the organization's token comes from. A file is read anew each time, so that a rotated token needs no restart.

use std::path::PathBuf;

use secrecy::SecretString;

/// A source of the organization's token.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// The token itself, from the environment.
    Value(SecretString),
    /// A file that holds it and may change.
    File(PathBuf),
}

impl TokenSource {
    /// The token as it is now, without white space around it.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is empty; the message names it and never its content.
    pub fn current(&self) -> Result<SecretString, String> {
        let path = match self {
            Self::Value(token) => return Ok(token.clone()),
            Self::File(path) => path,
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the token file {} cannot be read: {error}", path.display()))?;
        let token = text.trim();
        if token.is_empty() {
            return Err(format!("the token file {} is empty", path.display()));
        }
        Ok(SecretString::from(token))
    }
}
