//! `sandbox` and `sandbox-agent`: the stand-in for Azure DevOps as a process of its own, if wanted with that for Azure, and
//! its small agent.

use std::{convert::Infallible, io::Write, net::SocketAddr};

use anyhow::Context as _;
use jiff::SignedDuration;
use tokio::sync::mpsc;

use super::{
    Exit, Failure,
    signals::{self, Caught},
};
use crate::{
    azure::AZURE_DEVOPS,
    orchestrator::stop_pair,
    sandbox::{
        self, AgentSpec, Fault, JobSpec, Sandbox, Settings,
        azure::{AzureFault, AzureSandbox, AzureSettings},
    },
};

/// Run a stand-in for Azure DevOps, for trying things out
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The token that it accepts; one of its own making where the variable is not set
    #[arg(long, env = "SANDBOX_PAT", hide_env_values = true, hide = true)]
    token: Option<String>,
    /// A pool to open, with one offline agent in it; may be given more than once
    #[arg(long = "pool", default_value = "Default", value_name = "NAME")]
    pools: Vec<String>,
    /// How many pipeline jobs to queue in each pool
    #[arg(long, default_value_t = 0, value_name = "N")]
    jobs: u16,
    /// How long each job takes, in seconds
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    job_seconds: u16,
    /// A capability of the offline agents, `name=value`; may be given more than once
    #[arg(long = "capability", value_name = "NAME=VALUE")]
    capabilities: Vec<String>,
    /// A fault to switch on; may be given more than once
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    /// How far the organization's clock is ahead of this machine's: `5m`, `-90s`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    clock_ahead: Option<SignedDuration>,
    /// Switch faults and the clock while it runs, by lines on the standard input: `fault FAULT`, `clear`, `clock TIME`
    #[arg(long)]
    control: bool,
    /// The file that the token is written to, for whoever starts the orchestrator
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
    /// Stand in for Azure too, on this address, and print the variables with which the orchestrator uses it
    #[arg(long, num_args = 0..=1, default_missing_value = "127.0.0.1:0", requires = "secret_file", value_name = "ADDRESS")]
    azure: Option<SocketAddr>,
    /// The file that the client secret for the stand-in for Azure is written to
    #[arg(long, requires = "azure", value_name = "FILE")]
    secret_file: Option<std::path::PathBuf>,
    /// A fault of the stand-in for Azure to switch on; may be given more than once
    #[arg(long = "azure-fault", requires = "azure", value_name = "FAULT")]
    azure_faults: Vec<AzureFault>,
}

impl Args {
    pub(super) async fn run(mut self) -> Result<Exit, Failure> {
        let azure = self.azure.take().map(|address| self.start_azure(address)).transpose()?;
        let Self { listen, token, pools, jobs, job_seconds, capabilities, faults, token_file, control, .. } = self;
        let mut settings = Settings { clock_ahead: self.clock_ahead.unwrap_or_default(), ..Settings::default() };
        if let Some(token) = token {
            settings.token = token.into();
        }
        let sandbox = Sandbox::start(listen, settings).with_context(|| format!("cannot listen on {listen}"))?;
        for fault in faults {
            sandbox.inject(fault);
        }
        for pool in pools {
            let id = sandbox.add_pool(pool.as_str()).with_context(|| format!("cannot make the pool \"{pool}\""))?;
            let mut placeholder = AgentSpec::named("placeholder").disabled();
            for capability in &capabilities {
                let (name, value) = capability.split_once('=').unwrap_or((capability, ""));
                placeholder = placeholder.with(name, value);
            }
            sandbox.add_agent(id, placeholder).context("cannot register the offline agent")?;
            for number in 1..=jobs {
                let job = JobSpec::new("trial", format!("job {number}")).step("work", format!("sleep {job_seconds}"));
                sandbox.queue(id, job).context("cannot queue a pipeline job")?;
            }
        }
        if let Some(file) = token_file {
            write_secret(&file, sandbox.token()).with_context(|| format!("cannot write {}", file.display()))?;
        }
        writeln!(std::io::stdout(), "{}", sandbox.url())?;
        if let Some(azure) = &azure {
            // A user of the organization as well, for whoever signs in by Entra there.
            let tokens = azure.tokens();
            sandbox.accept_tokens(move |token| {
                tokens.accepts(token, AZURE_DEVOPS, jiff::Timestamp::now()).map(|principal| principal.name)
            });
            for (name, value) in azure.variables() {
                writeln!(std::io::stdout(), "{name}={value}")?;
            }
        }

        let (stopper, stop) = stop_pair();
        let caught = Caught::default();
        tokio::select! {
            biased;
            () = stop.wanted() => Ok(caught.exit().unwrap_or(Exit::Done)),
            never = commands(&sandbox), if control => match never {},
            signals = signals::watch(&stopper, &caught) => Err(signals.map_or_else(Failure::from, |never| match never {})),
        }
    }
}

impl Args {
    fn start_azure(&mut self, address: SocketAddr) -> Result<AzureSandbox, Failure> {
        let azure = AzureSandbox::start_on(address, AzureSettings::default())
            .with_context(|| format!("cannot listen on {address}"))?;
        for fault in self.azure_faults.drain(..) {
            azure.inject(fault);
        }
        if let Some(file) = self.secret_file.take() {
            write_secret(&file, azure.secret()).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(azure)
    }
}

/// Does what the lines on the standard input say. When there are no more, all stays as it is.
async fn commands(sandbox: &Sandbox) -> Infallible {
    let (sender, mut lines) = mpsc::unbounded_channel();
    // A thread of its own, which does not hold up the end of the process as tokio's would.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        if let Err(error) = command(sandbox, line.trim()) {
            // There may be nobody who reads it.
            let _ = writeln!(std::io::stderr(), "error: {error}");
        }
    }
    std::future::pending().await
}

fn command(sandbox: &Sandbox, line: &str) -> anyhow::Result<()> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("", _) => {}
        ("fault", fault) => sandbox.inject(fault.parse()?),
        ("clear", "") => sandbox.clear_faults(),
        ("clock", ahead) => {
            let ahead = ahead.parse().with_context(|| format!("\"{ahead}\" is no time such as 5m or -90s"))?;
            sandbox.set_clock_ahead(ahead);
        }
        _ => anyhow::bail!("\"{line}\" is none of: fault FAULT, clear, clock TIME"),
    }
    Ok(())
}

/// Be the sandbox's small agent: what the package's `config.sh` and `run.sh` hand over to
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct AgentArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl AgentArgs {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        // The real agent's codes are those of the same numbers here; what they mean is the agent's affair.
        Ok(match sandbox::agent::main(self.arguments).await {
            0 => Exit::Done,
            2 => Exit::Usage,
            _ => Exit::Failed,
        })
    }
}

/// Writes a file that nobody else can read.
fn write_secret(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn faults_and_the_clock_are_switched_by_lines() {
        let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), Settings::default()).unwrap();
        let pool = sandbox.add_pool("linux").unwrap();
        for line in ["", "fault 500@agents*3", "fault stale-list=10s", "clear", "clock 2h"] {
            command(&sandbox, line).unwrap();
        }
        let request = sandbox.queue(pool, JobSpec::new("ci", "x")).unwrap();
        let ahead = sandbox.request(request).unwrap().queued_at.duration_since(jiff::Timestamp::now());
        assert!((SignedDuration::from_mins(119)..SignedDuration::from_mins(121)).contains(&ahead), "{ahead}");
        for (line, part) in
            [("fault 418", "lose-reply"), ("clock soon", "5m"), ("dance", "clear"), ("clear x", "clear")]
        {
            let error = format!("{:#}", command(&sandbox, line).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
