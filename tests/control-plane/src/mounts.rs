//! A container's volumes as local folders.
//!
//! Mounting needs root, so nothing is mounted: the files lie in a folder of the pod's, and each mention of a mount
//! path in the container's environment, command and arguments is replaced by the path of that folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, Volume};

use crate::sources::{Entries, Sources};

/// Where the API server mounts every pod's own token. Clients look there and nowhere else, so moving it helps nobody.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Mount paths and the local paths in their stead, the longest first.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Vec<(String, PathBuf)>);

impl Mounts {
    /// Writes the volumes that `container` mounts into `folder`.
    ///
    /// Secrets, ConfigMaps and projections of them are filled, a `hostPath` stays where it is, and anything else is an
    /// empty folder to write to.
    pub(crate) async fn of(pod: &Pod, container: &Container, sources: &Sources, folder: &Path) -> Result<Self> {
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let mount_path = mount.mount_path.trim_end_matches('/');
            if mount_path == SERVICE_ACCOUNT {
                continue;
            }
            let volume = volumes.iter().find(|volume| volume.name == mount.name);
            let volume = volume.with_context(|| format!("no volume \"{}\"", mount.name))?;
            let place = match &volume.host_path {
                Some(host) => PathBuf::from(&host.path),
                None => {
                    let place = folder.join(&volume.name);
                    let filled = fill(volume, sources, &place).await;
                    filled.with_context(|| format!("MountVolume.SetUp failed for volume \"{}\"", volume.name))?;
                    place
                }
            };
            let place = mount.sub_path.as_ref().map_or_else(|| place.clone(), |path| place.join(path));
            mounts.push((mount_path.to_owned(), place));
        }
        mounts.sort_by_key(|(mount_path, _)| std::cmp::Reverse(mount_path.len()));
        Ok(Self(mounts))
    }

    /// `text` with local paths in the place of mount paths. `/run/a` is not found in `/run/ab` or `/var/run/a`.
    pub(crate) fn localize(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let starts_here = !result.ends_with(in_a_name) && !result.ends_with('/');
            let found = self.0.iter().find(|(mount, _)| starts_here && leads(rest, mount));
            if let Some((mount, place)) = found {
                result += &place.to_string_lossy();
                rest = &rest[mount.len()..];
            } else {
                result.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        result
    }
}

fn leads(text: &str, mount: &str) -> bool {
    text.strip_prefix(mount).is_some_and(|rest| !rest.starts_with(in_a_name))
}

fn in_a_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-')
}

async fn fill(volume: &Volume, sources: &Sources, place: &Path) -> Result<()> {
    fs::create_dir_all(place)?;
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let entries = sources.secret(name, secret.optional).await?;
        write(&entries, secret.items.as_deref(), secret.default_mode, place)?;
    }
    if let Some(map) = &volume.config_map {
        let entries = sources.config_map(&map.name, map.optional).await?;
        write(&entries, map.items.as_deref(), map.default_mode, place)?;
    }
    if let Some(projected) = &volume.projected {
        for source in projected.sources.iter().flatten() {
            if let Some(secret) = &source.secret {
                let entries = sources.secret(&secret.name, secret.optional).await?;
                write(&entries, secret.items.as_deref(), projected.default_mode, place)?;
            }
            if let Some(map) = &source.config_map {
                let entries = sources.config_map(&map.name, map.optional).await?;
                write(&entries, map.items.as_deref(), projected.default_mode, place)?;
            }
        }
    }
    Ok(())
}

/// All entries under their keys, or only `items` under their paths.
fn write(entries: &Entries, items: Option<&[KeyToPath]>, mode: Option<i32>, place: &Path) -> Result<()> {
    let mode = mode.unwrap_or(0o644);
    let Some(items) = items else {
        return entries.iter().try_for_each(|(key, content)| write_file(&place.join(key), content, mode));
    };
    for item in items {
        let Some(content) = entries.get(&item.key) else { bail!("references non-existent key: {}", item.key) };
        write_file(&place.join(&item.path), content, item.mode.unwrap_or(mode))?;
    }
    Ok(())
}

fn write_file(path: &Path, content: &[u8], mode: i32) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(mode.cast_unsigned()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_mount_paths_are_replaced() {
        let mounts = Mounts(vec![("/run/a/b".into(), "/tmp/2".into()), ("/run/a".into(), "/tmp/1".into())]);
        assert_eq!(mounts.localize("/run/a"), "/tmp/1");
        assert_eq!(mounts.localize("cat '/run/a/token' >/run/a/b/x;"), "cat '/tmp/1/token' >/tmp/2/x;");
        assert_eq!(mounts.localize("FILE=/run/a:/run/ab:/var/run/a"), "FILE=/tmp/1:/run/ab:/var/run/a");
    }
}
