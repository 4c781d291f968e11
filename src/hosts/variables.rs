//! The variables that say who an agent is and where it belongs, the same on every host that starts containers.

use super::json::{Node, TemplateError, set_default_variable, set_variable};
use crate::core::{INSTALLATION_CAPABILITY, Installation, StartRun};

/// It makes a classic image's agent run one job, whatever its entry point does.
const ONCE: &str = "VSTS_AGENT_INPUT_ONCE";

/// Sets them in a container. `list` is the key of its variables. Ours replace the template's, but for what a template says
/// of the agent's running once.
pub(super) fn set(
    container: &mut Node<'_>,
    list: &str,
    run: &StartRun,
    organization: &str,
    installation: &Installation,
) -> Result<(), TemplateError> {
    for (name, value) in [
        ("AZP_URL", organization),
        ("AZP_POOL", &run.pool),
        ("AZP_AGENT_NAME", &run.name),
        // The agent shows it as a capability, so that others can tell whose it is.
        (INSTALLATION_CAPABILITY, installation.id()),
    ] {
        set_variable(container, list, name, value)?;
    }
    set_default_variable(container, list, ONCE, "true")
}
