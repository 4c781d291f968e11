//! `serve`: the in-cluster orchestrator.

use std::path::PathBuf;

use super::{
    Exit, Failure,
    logging::{self, LogFormat},
    signals::{self, Caught},
};
use crate::{
    config::{Config, Environment},
    orchestrator::{ConfigSource, end_on_panic, serve, stop_pair},
};

/// Run the orchestrator: watch agent pools and start an agent for each queued pipeline job
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file, or a folder with `ado.yaml` in it; environment variables fill what it leaves out
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Self { config, log_format } = self;
        let environment = Environment::of_this_process();
        let path = config;
        let (config, source) = match path {
            None => (Config::load(&environment, None).map_err(refused)?, None),
            Some(path) => {
                let source = ConfigSource::new(environment, path);
                let (config, source) = source.loaded().map_err(refused)?;
                (config, Some(source))
            }
        };
        logging::start(log_format);
        end_on_panic();

        let run_once = config.run_once;
        let (stopper, stop) = stop_pair();
        let caught = Caught::default();
        let outcome = tokio::select! {
            served = Box::pin(serve(config, source, stop)) => served,
            signals = signals::watch(&stopper, &caught) => return Err(signals.map_or_else(Failure::from, |never| match never {})),
        };
        let outcome = outcome.map_err(|error| Failure::new(Exit::Failed, error.message, error.fix))?;
        match caught.exit() {
            // Interrupted in the middle of its one pass, it cannot say that it worked.
            Some(exit) if run_once => Ok(exit),
            Some(_) => Ok(Exit::Done),
            None if outcome.failures > 0 => Ok(Exit::Failed),
            None => Ok(Exit::Done),
        }
    }
}

/// A configuration that was refused, one line for each thing that is wrong.
pub(super) fn refused(errors: crate::config::ConfigErrors) -> Failure {
    Failure { exit: Exit::Usage, causes: errors.0.into_iter().map(|error| (error.message, error.fix)).collect() }
}
