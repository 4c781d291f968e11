//! Finds or builds the programs of the control plane, so that CI can do it (and cache it) ahead of the tests.

use std::io::{self, Write};
use std::process::ExitCode;

use control_plane::{Programs, ensure_programs};

fn main() -> io::Result<ExitCode> {
    match ensure_programs() {
        Ok(Programs { etcd, kube_apiserver, kube_controller_manager, kubectl }) => {
            for program in [etcd, kube_apiserver, kube_controller_manager, kubectl] {
                writeln!(io::stdout(), "{}", program.display())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}
