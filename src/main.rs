//! The binary: everything is in the library.

fn main() -> std::process::ExitCode {
    kubectl_ado::commands::main()
}
