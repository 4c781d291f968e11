//! The path of a setting in `ado.yaml`, as `config set` and fix lines write it: `pools.Linux.limits.maxAgents`.
//!
//! Items of a list are addressed by their `name`, or by their index where they have none. A name with a dot stands in
//! double quotes.

use std::{fmt, str::FromStr};

/// Keys whose value is a list.
const LISTS: &[&str] = &["pools", "templates", "schedules"];

/// The path of one setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingPath(pub(super) Vec<String>);

impl SettingPath {
    /// The setting's own key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.last().map(String::as_str)
    }

    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(parts.into_iter().map(str::to_owned).collect())
    }

    /// Whether the value at this key is a list.
    pub(super) fn is_list(key: &str) -> bool {
        LISTS.contains(&key)
    }
}

impl fmt::Display for SettingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            match part.is_empty() || part.contains(['.', '"', '=']) {
                true => write!(f, "\"{}\"", part.replace('\\', "\\\\").replace('"', "\\\""))?,
                false => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no path of a setting, such as limits.maxAgents or pools.NAME.limits.maxAgents")]
pub struct PathError(String);

impl FromStr for SettingPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let error = || PathError(text.to_owned());
        let mut parts = vec![String::new()];
        let (mut quoted, mut escaped) = (false, false);
        for c in text.chars() {
            match c {
                _ if escaped => {
                    parts.last_mut().ok_or_else(error)?.push(c);
                    escaped = false;
                }
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '.' if !quoted => parts.push(String::new()),
                c => parts.last_mut().ok_or_else(error)?.push(c),
            }
        }
        if quoted || parts.iter().any(String::is_empty) {
            return Err(error());
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_whatever_the_names_are() {
        for (text, parts) in [
            ("limits.maxAgents", &["limits", "maxAgents"][..]),
            ("pools.Linux Builds.limits.maxAgents", &["pools", "Linux Builds", "limits", "maxAgents"]),
            ("pools.\"a.b\".limits", &["pools", "a.b", "limits"]),
            ("pools.\"a=\\\"b\\\"\".limits", &["pools", "a=\"b\"", "limits"]),
        ] {
            let path: SettingPath = text.parse().unwrap();
            assert_eq!(path.0, parts);
            assert_eq!(path.to_string().parse::<SettingPath>().unwrap(), path, "{path}");
        }
        assert_eq!(
            "pools.\"Linux Builds\".limits".parse::<SettingPath>().unwrap().to_string(),
            "pools.Linux Builds.limits"
        );
        for text in ["", ".", "a..b", "a.", "pools.\"a"] {
            assert!(text.parse::<SettingPath>().is_err(), "{text}");
        }
    }
}
