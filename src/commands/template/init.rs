//! `template init`: Job templates that work as they are, with the reasons for each part.

use std::{io::Write, path::PathBuf};

use super::super::{Exit, Failure};

/// Print a Job template to begin with
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// What it is for
    #[arg(long, value_enum, default_value_t, value_name = "PRESET")]
    preset: Preset,
    /// Write it to a file, which must not exist yet
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Job templates to begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Preset {
    /// Our image, hardened, with room for resources
    #[default]
    Plain,
    /// A volume that keeps tools and packages from one agent to the next
    Cache,
    /// A Docker daemon without root beside the agent, which shares its work folder
    DindRootless,
}

impl Preset {
    fn text(self) -> &'static str {
        match self {
            Self::Plain => include_str!("presets/plain.yaml"),
            Self::Cache => include_str!("presets/cache.yaml"),
            Self::DindRootless => include_str!("presets/dind-rootless.yaml"),
        }
    }
}

impl InitArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let text = self.preset.text();
        let Some(path) = &self.output else {
            std::io::stdout().lock().write_all(text.as_bytes())?;
            return Ok(Exit::Done);
        };
        let wrong = |error: std::io::Error| {
            let fix = (error.kind() == std::io::ErrorKind::AlreadyExists)
                .then(|| "name another file, or remove it".to_owned());
            Failure::new(Exit::Failed, format!("{} cannot be written: {error}", path.display()), fix)
        };
        let mut file = std::fs::File::create_new(path).map_err(wrong)?;
        file.write_all(text.as_bytes()).map_err(wrong)?;
        writeln!(std::io::stderr().lock(), "wrote {}", path.display())?;
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::ValueEnum;

    use super::*;
    use crate::config::JobTemplate;

    #[test]
    fn each_preset_is_strictly_valid_and_nothing_about_it_is_odd() {
        for preset in Preset::value_variants() {
            let template = JobTemplate::parse_strictly(Path::new("preset.yaml"), preset.text()).unwrap();
            assert_eq!(template.warnings, [""; 0], "{preset:?}");
        }
    }

    #[test]
    fn the_daemon_shares_the_work_folder_of_our_image_and_ends_with_its_agent() {
        let template = JobTemplate::parse(Path::new("preset.yaml"), Preset::DindRootless.text()).unwrap();
        let pod = &template.job["spec"]["template"]["spec"];
        assert_eq!(pod["restartPolicy"], "Never");
        let image = include_str!("../../../linux/Dockerfile");
        for container in pod["containers"].as_array().unwrap() {
            let mounts = container["volumeMounts"].as_array().unwrap();
            let work = mounts.iter().find(|mount| mount["name"] == "work").unwrap()["mountPath"].as_str().unwrap();
            assert!(image.contains(&format!("AZP_WORK={work}")), "{work}");
        }
    }
}
