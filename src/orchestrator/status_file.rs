//! The status in a file, where there is no cluster to keep it: what `--status-from FILE` reads.

use std::{io::Write, path::PathBuf};

use jiff::Timestamp;
use tempfile::NamedTempFile;

use crate::cluster::{ClusterError, ErrorKind, Happening, StatusStore};

/// A file that always holds one whole status: the next one is written beside it and takes its place.
#[derive(Debug)]
pub(super) struct StatusFile(PathBuf);

impl StatusFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn replace(&self, status: &str) -> std::io::Result<()> {
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut next = NamedTempFile::new_in(folder.unwrap_or(std::path::Path::new(".")))?;
        next.write_all(status.as_bytes())?;
        // It holds no secret, and whoever watches may be somebody else.
        #[cfg(unix)]
        next.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        next.persist(&self.0)?;
        Ok(())
    }
}

impl StatusStore for StatusFile {
    async fn write(&self, status: &str) -> Result<(), ClusterError> {
        self.replace(status).map_err(|error| ClusterError {
            kind: ErrorKind::Configuration,
            message: format!("cannot write the status file {}: {error}", self.0.display()),
            fix: Some("set STATUS_FILE to a file in a folder that this account may write".to_owned()),
        })
    }

    async fn read(&self) -> Result<Option<String>, ClusterError> {
        // Without Events, nobody has been told anything before.
        Ok(None)
    }

    /// Nobody asks for anything by a file.
    async fn control(&self) -> Result<Option<String>, ClusterError> {
        Ok(None)
    }

    /// What happens is in the log already.
    async fn tell(&self, _happening: &Happening, _now: Timestamp) -> Result<(), ClusterError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_is_replaced_as_a_whole_and_a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        let store = StatusFile::new(path.clone());
        store.write("a longer first status").await.unwrap();
        store.write("second").await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left in the folder");

        let error = StatusFile::new(folder.path().join("absent/status.json")).write("x").await.unwrap_err();
        assert!(error.message.contains("absent/status.json"), "{error}");
    }
}
