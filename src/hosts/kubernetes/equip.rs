//! Making a held Job ready.

use super::KubernetesHost;
use crate::{
    core::EquipRun,
    hosts::{AgentFiles, HostError},
};

impl KubernetesHost {
    pub(super) async fn claim_job(&self, _run: &EquipRun) -> Result<(), HostError> {
        Ok(())
    }

    pub(super) async fn equip_job(&self, _name: &str, _files: &AgentFiles) -> Result<(), HostError> {
        Ok(())
    }
}
