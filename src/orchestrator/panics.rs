//! A panic ends the process, in whatever task it happens: one that went on without its watch, or without its loop, would look
//! healthy and do nothing. Whoever started the process starts it again.

/// From here on, a panic in any task or thread is written to standard error and ends the process.
pub fn end_on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::abort();
    }));
}

#[cfg(all(test, unix))]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command, time::Duration};

    const CHILD: &str = "KUBECTL_ADO_TEST_PANICS";

    #[test]
    fn a_panic_in_a_task_that_nobody_awaits_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            super::end_on_panic();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                drop(tokio::spawn(async { panic!("a watch has a mistake") }));
                tokio::time::sleep(Duration::from_secs(60)).await;
            });
            return;
        }
        let test = "orchestrator::panics::tests::a_panic_in_a_task_that_nobody_awaits_ends_the_process";
        let child =
            Command::new(std::env::current_exe().unwrap()).args([test, "--exact"]).env(CHILD, "1").output().unwrap();
        assert_eq!(child.status.signal(), Some(6), "{child:?}");
    }
}
