//! What is wrong with a configuration: all of it at once, each thing with its place and, where there is one, its mend.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

use super::{entra::SECRETS, environment::Environment};

/// Shorter tokens (those of examples) would be found in ordinary words.
const SHORTEST_HIDDEN_TOKEN: usize = 8;

/// Azure DevOps gives out tokens of 52 and 84 characters.
const SHORTEST_REAL_TOKEN: usize = 20;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong and where: a variable's name, or `file:line:column` and the key's path.
    pub message: String,
    /// How to mend it.
    pub fix: Option<String>,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.fix {
            Some(fix) => write!(f, "\nfix: {fix}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What is wrong with one value, said so that it can follow the value's origin: `is not a whole number`.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) fix: Option<String>,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), fix: None }
    }

    pub(super) fn mend(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

/// Texts of files by their paths.
pub(super) type Files = BTreeMap<PathBuf, String>;

/// Collects what is wrong and what is odd. Whatever is said passes here, so that the token can never be part of it.
pub(super) struct Problems {
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<String>>,
    token: Option<SecretString>,
    /// Other secrets of the environment.
    others: Vec<SecretString>,
    elsewhere: Option<Elsewhere>,
}

/// The configuration is for another machine: files that it names are there and not here.
enum Elsewhere {
    /// What lies in the folder `mounted` there lies in `folder` here.
    Folder { mounted: &'static str, folder: PathBuf },
    /// The files that there will be, and the folder that holds no others.
    Files(Files, &'static str),
}

impl Problems {
    /// An empty collection that hides this token wherever it turns up.
    pub(super) fn hiding(token: Option<&str>) -> Self {
        Self {
            errors: RefCell::default(),
            warnings: RefCell::default(),
            token: token.and_then(hidden),
            others: Vec::new(),
            elsewhere: None,
        }
    }

    /// The same for all secrets that the environment has for us.
    pub(super) fn hiding_secrets_of(environment: &Environment) -> Self {
        let others = SECRETS.iter().filter_map(|name| hidden(environment.get(name)?)).collect();
        Self { others, ..Self::hiding(environment.get("ORG_PAT")) }
    }

    /// The same for a file that `serve` reads on another machine in `mounted`, and that lies here in `folder`.
    pub(super) fn elsewhere(self, mounted: &'static str, folder: &Path) -> Self {
        Self { elsewhere: Some(Elsewhere::Folder { mounted, folder: folder.to_owned() }), ..self }
    }

    /// The same for a configuration that will be read elsewhere, where there are these files.
    pub(super) fn with_files(self, files: Files, mounted: &'static str) -> Self {
        Self { elsewhere: Some(Elsewhere::Files(files, mounted)), ..self }
    }

    /// Whether files that are not here may well be there.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// The text of a file that was handed over.
    pub(super) fn text_of(&self, path: &Path) -> Option<&str> {
        match &self.elsewhere {
            Some(Elsewhere::Files(files, _)) => files.get(path).map(String::as_str),
            _ => None,
        }
    }

    /// Where a file is to be read. `None` where it lies on another machine and whoever brings it there has to know what is
    /// in it.
    pub(super) fn reach(&self, origin: impl fmt::Display, path: &Path) -> Option<PathBuf> {
        let (mounted, folder) = match &self.elsewhere {
            None => return Some(path.to_owned()),
            Some(Elsewhere::Files(files, _)) if files.contains_key(path) => return Some(path.to_owned()),
            Some(Elsewhere::Files(_, mounted)) => {
                if path.is_relative() || path.starts_with(mounted) {
                    let message = format!("{origin} names \"{}\", which does not come along", path.display());
                    self.error_with_fix(message, "put the file beside ado.yaml");
                }
                return None;
            }
            Some(Elsewhere::Folder { mounted, folder }) => (mounted, folder),
        };
        if let Ok(beside) = path.strip_prefix(mounted) {
            return Some(folder.join(beside));
        }
        if path.is_relative() || (folder.is_absolute() && path.starts_with(folder)) || path.exists() {
            return Some(path.to_owned());
        }
        self.warn(format!("{origin}: {} is not on this machine, so it is not checked", path.display()));
        None
    }

    pub(super) fn error(&self, message: impl Into<String>) {
        self.push(message.into(), None);
    }

    pub(super) fn error_with_fix(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.push(message.into(), Some(fix.into()));
    }

    /// A wrong value and where it came from.
    pub(super) fn wrong(&self, origin: impl fmt::Display, wrong: Wrong) {
        self.push(format!("{origin} {}", wrong.what), wrong.fix);
    }

    /// Errors of another file, found by way of this setting.
    pub(super) fn errors_by_way_of(&self, origin: impl fmt::Display, errors: ConfigErrors) {
        for error in errors.0 {
            self.push(format!("{origin}: {}", error.message), error.fix);
        }
    }

    pub(super) fn warn(&self, warning: impl Into<String>) {
        let warning = self.without_token(warning.into());
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Whether the token is in a text. Short ones (those of examples) may be there by chance.
    pub(super) fn stands_in(&self, text: &str) -> bool {
        let token = self.token.as_ref().map(ExposeSecret::expose_secret);
        token.is_some_and(|token| token.len() >= SHORTEST_REAL_TOKEN && text.contains(token))
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    /// The value and its warnings, or all errors.
    pub(super) fn settle<T>(self, value: Option<T>) -> Result<(T, Vec<String>), ConfigErrors> {
        let mut errors = self.errors.into_inner();
        match value {
            Some(value) if errors.is_empty() => Ok((value, self.warnings.into_inner())),
            _ => {
                if errors.is_empty() {
                    errors.push(ConfigError { message: "the configuration is incomplete".to_owned(), fix: None });
                }
                Err(ConfigErrors(errors))
            }
        }
    }

    fn push(&self, message: String, fix: Option<String>) {
        let error = ConfigError { message: self.without_token(message), fix: fix.map(|fix| self.without_token(fix)) };
        let mut errors = self.errors.borrow_mut();
        if !errors.contains(&error) {
            errors.push(error);
        }
    }

    fn without_token(&self, mut text: String) -> String {
        for secret in self.token.iter().chain(&self.others) {
            if text.contains(secret.expose_secret()) {
                text = text.replace(secret.expose_secret(), "***");
            }
        }
        text
    }
}

fn hidden(secret: &str) -> Option<SecretString> {
    (secret.len() >= SHORTEST_HIDDEN_TOKEN).then(|| SecretString::from(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_a_line_and_its_mend_follows() {
        let problems = Problems::hiding(None);
        problems.error("A is not set");
        problems.error_with_fix("B is 0", "set B=1");
        let errors = problems.settle::<()>(None).unwrap_err();
        assert_eq!(errors.to_string(), "error: A is not set\nerror: B is 0\nfix: set B=1");
    }

    #[test]
    fn the_same_thing_is_said_once() {
        let problems = Problems::hiding(None);
        for _ in 0..2 {
            problems.error("A is not set");
        }
        assert_eq!(problems.settle::<()>(None).unwrap_err().0.len(), 1);
    }

    #[test]
    fn the_token_is_hidden_in_whatever_is_said() {
        let problems = Problems::hiding(Some("s3cr3t-t0k3n"));
        problems.error_with_fix("no such file: s3cr3t-t0k3n", "remove s3cr3t-t0k3n");
        let text = problems.settle::<()>(None).unwrap_err().to_string();
        assert_eq!(text, "error: no such file: ***\nfix: remove ***");
    }
}
