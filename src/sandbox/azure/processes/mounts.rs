//! A container's volumes as local folders. Mounting needs root, so nothing is mounted: what the container reads of mount
//! paths, in its environment and its command, is rewritten to the folders.

use std::{collections::BTreeMap, fs, io, path::Path};

/// Mount paths and the folders in their stead, the longest first.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<(String, String)>);

impl Mounts {
    /// Makes a folder within `folder` for each mount, with its files.
    pub(super) fn make(mounts: &[(String, BTreeMap<String, Vec<u8>>)], folder: &Path) -> io::Result<Self> {
        let mut made = Vec::new();
        for (number, (path, files)) in mounts.iter().enumerate() {
            let place = folder.join(format!("volume-{number}"));
            fs::create_dir_all(&place)?;
            for (name, content) in files {
                // A name with a path in it would leave the folder.
                let name = Path::new(name).file_name().ok_or(io::ErrorKind::InvalidInput)?;
                fs::write(place.join(name), content)?;
            }
            made.push((path.trim_end_matches('/').to_owned(), place.to_string_lossy().into_owned()));
        }
        made.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Ok(Self(made))
    }

    /// A text that begins with a mount path, with the folder instead. `/run/a` does not begin `/run/ab`.
    pub(super) fn localize(&self, text: &str) -> String {
        let found = self.0.iter().find_map(|(path, place)| {
            let rest = text.strip_prefix(path.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{place}{rest}"))
        });
        found.unwrap_or_else(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_and_whole_mount_paths_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = BTreeMap::from([("token".to_owned(), b"secret".to_vec())]);
        let mounts = [("/run/a/".to_owned(), BTreeMap::new()), ("/run/a/b".to_owned(), file)];
        let mounts = Mounts::make(&mounts, folder.path()).unwrap();
        assert_eq!(fs::read_to_string(mounts.localize("/run/a/b/token")).unwrap(), "secret");
        assert_eq!(mounts.localize("/run/a"), folder.path().join("volume-0").display().to_string());
        assert_eq!(mounts.localize("/run/ab"), "/run/ab");
    }
}
