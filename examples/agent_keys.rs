//! Key files of just-in-time agents, one a line, for another implementation to look at:
//!
//!     cargo run --release --example agent_keys -- 1000 | python3 tests/keys.py
//!
//! The keys belong to nobody. `tests/keys.py` needs Python 3 with the library `cryptography`.

use std::{
    io::{self, BufWriter, ErrorKind, Write},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::Context;
use kubectl_ado::{
    azure_devops::{
        PoolId,
        just_in_time::{AgentKey, RegisteredAgent, files},
    },
    core::AgentId,
};
use secrecy::ExposeSecret;

/// How many there are unless an argument says it.
const KEYS: usize = 1000;

fn main() -> anyhow::Result<()> {
    let count = match std::env::args().nth(1) {
        Some(count) => count.parse().with_context(|| format!("{count:?} is no number of keys"))?,
        None => KEYS,
    };
    let (made, keys) = mpsc::sync_channel(16);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (made, next) = (made.clone(), &next);
            // Ends when there are enough, or nobody reads them.
            scope.spawn(move || while next.fetch_add(1, Ordering::Relaxed) < count && made.send(key_file()).is_ok() {});
        }
        drop(made);
        match print(keys) {
            Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => {
                Ok(())
            }
            printed => printed,
        }
    })
}

fn print(keys: mpsc::Receiver<anyhow::Result<String>>) -> anyhow::Result<()> {
    let mut output = BufWriter::new(io::stdout().lock());
    for key in keys {
        writeln!(output, "{}", key?)?;
    }
    Ok(output.flush()?)
}

/// A new key as an agent finds it in `.credentials_rsaparams`.
fn key_file() -> anyhow::Result<String> {
    let agent = RegisteredAgent {
        id: AgentId(1),
        name: "nobody".to_owned(),
        pool: PoolId(1),
        pool_name: "none".to_owned(),
        client_id: String::new(),
        authorization_url: String::new(),
    };
    let files = files("https://dev.azure.com/nobody", &agent, &AgentKey::generate()?);
    let file = files.get(".credentials_rsaparams").context("an agent without a key")?;
    Ok(file.expose_secret().to_owned())
}
