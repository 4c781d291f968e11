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
    /// A token that somebody typed or piped in, without white space around it.
    ///
    /// # Errors
    ///
    /// It is empty or cannot be a token; what is said does not hold it.
    pub fn of_text(text: &str) -> Result<Self, String> {
        token(text).map(Self::Value).map_err(|what| format!("the token {what}"))
    }

    /// The token as it is now, without white space around it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is empty or holds something that is no token; the message names the file and never
    /// its content.
    pub fn current(&self) -> Result<SecretString, String> {
        let path = match self {
            Self::Value(token) => return Ok(token.clone()),
            Self::File(path) => path,
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the token file {} cannot be read: {error}", path.display()))?;
        token(&text).map_err(|what| format!("the token file {} {what}", path.display()))
    }
}

/// A token without white space around it.
///
/// # Errors
///
/// It is empty or cannot be a token; the words go on from "it", and never hold it.
pub fn token(text: &str) -> Result<SecretString, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty");
    }
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err("holds white space or characters that no token has");
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        return Err("holds a URL and no token");
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn white_space_around_a_token_is_not_part_of_it() {
        assert_eq!(token(" abc\r\n").unwrap().expose_secret(), "abc");
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_without_being_shown() {
        for text in ["", " \n", "two words", "línea", "a\u{7}b", "https://dev.azure.com/contoso"] {
            let what = token(text).unwrap_err();
            assert!(text.trim().is_empty() || !what.contains(text), "{what}");
        }
    }

    #[test]
    fn a_file_is_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = TokenSource::File(path.clone());
        assert!(source.current().unwrap_err().contains("token cannot be read"));
        for text in ["first\n", "second"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(source.current().unwrap().expose_secret(), text.trim());
        }
    }
}
