//! The agents: small scripts, whose part is played here.
//!
//! A script connects, says in one line what it is to do, and ends with the code that it is answered. If it is ended before,
//! its connection closes, which is how it is known here.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use kubectl_ado::sandbox::{
    AgentScripts, AgentSpec, JobResult, Refusal, Sandbox,
    state::{MessageContent, SessionDraft},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use crate::serve::purpose;

/// How often an agent looks for messages, and how often its life is looked at.
const LOOK: Duration = Duration::from_millis(150);

const RENEW_EVERY: Duration = Duration::from_secs(20);

/// One run that is at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub(crate) purpose: Option<String>,
    pub(crate) pool: String,
    /// The request that it works on.
    pub(crate) request: Option<i64>,
}

/// What has happened that the checks want to know.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) live: HashMap<String, Live>,
    pub(crate) started: u64,
    pub(crate) violations: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Agents {
    sandbox: Option<Sandbox>,
    root: Option<PathBuf>,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

/// The scripts of the package, for agents that are played behind this port.
pub(crate) fn scripts(port: u16) -> AgentScripts {
    let ask = format!(
        "#!/usr/bin/env bash\nset -u\ncd \"$(dirname \"${{BASH_SOURCE[0]}}\")\" || exit 1\n\
         ask() {{ exec 3<>/dev/tcp/127.0.0.1/{port} || exit 1; printf '%s\\n' \"$*\" >&3; IFS= read -r code <&3; exit \"${{code:-1}}\"; }}\n"
    );
    let config = format!(
        "{ask}if [ \"${{1:-}}\" = remove ]; then rm -f .agent; ask remove \"$AZP_AGENT_NAME\" \"$AZP_POOL\"; fi\n\
         : >.agent; ask configure \"$AZP_AGENT_NAME\" \"$AZP_POOL\" \"$KUBECTL_ADO_INSTALLATION\"\n"
    );
    AgentScripts {
        config,
        run: format!(
            "{ask}ask run \"$AZP_AGENT_NAME\" \"$AZP_POOL\" \"$KUBECTL_ADO_INSTALLATION\" \"${{KUBECTL_ADO_REGISTRATION:-}}\"\n"
        ),
    }
}

impl Agents {
    pub(crate) fn new() -> Self {
        Self { sandbox: None, root: None, seen: Arc::default() }
    }

    /// Plays agents until it is dropped. `root` is where serve keeps its runs.
    pub(crate) async fn play(mut self, listener: TcpListener, sandbox: Sandbox, root: PathBuf) {
        (self.sandbox, self.root) = (Some(sandbox), Some(root));
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.unwrap();
                    let agents = self.clone();
                    tasks.spawn(async move { agents.attend(stream).await });
                }
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().unwrap()
    }

    async fn attend(&self, mut stream: TcpStream) {
        let mut line = String::new();
        let (read, mut write) = stream.split();
        let mut read = BufReader::new(read);
        if read.read_line(&mut line).await.is_err() {
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let [what, name, pool, ref variables @ ..] = words[..] else { return };
        let pool_id = self.sandbox().see(|state| state.pool_named(pool).map(|pool| pool.id));
        let Some(pool_id) = pool_id else { return };
        let code = match what {
            "configure" => self.register(pool_id, name, variables),
            "remove" => self.remove(pool_id, name),
            _ => {
                let closed = async {
                    let mut byte = [0];
                    let _ = read.read(&mut byte).await;
                };
                self.run(pool_id, pool, agent(name, variables), closed).await
            }
        };
        let _ = write.write_all(format!("{code}\n").as_bytes()).await;
    }

    fn find(&self, pool: i64, name: &str) -> Option<i64> {
        let agents = self.sandbox().agents(pool);
        agents.into_iter().find(|agent| agent.name.eq_ignore_ascii_case(name)).map(|agent| agent.id)
    }

    fn register(&self, pool: i64, name: &str, variables: &[&str]) -> u8 {
        let spec = agent(name, variables);
        let there = self.find(pool, name);
        let registered = self.sandbox().change(|state, now| match there {
            Some(id) => state.replace(pool, id, spec, now),
            None => state.register(pool, spec, now).map(drop),
        });
        u8::from(registered.is_err())
    }

    fn remove(&self, pool: i64, name: &str) -> u8 {
        match self.find(pool, name).map(|id| self.sandbox().remove_agent(pool, id)) {
            None | Some(Ok(()) | Err(Refusal::AgentNotFound(_))) => 0,
            Some(Err(_)) => 1,
        }
    }

    /// One agent's life, from `run.sh --once` on.
    async fn run(&self, pool: i64, pool_name: &str, agent: AgentSpec, closed: impl Future<Output = ()>) -> u8 {
        tokio::pin!(closed);
        let name = agent.name.as_str();
        self.begin(pool_name, name);
        let warm_up = Duration::from_millis(Rng::new().u64(100..800));
        let ended = tokio::select! {
            () = &mut closed => Ended::Killed,
            () = sleep(warm_up) => {
                let id = self.find(pool, name);
                let opened = id.map(|id| self.open(pool, id, &agent));
                match opened {
                    Some(Ok(session)) => self.serve(pool, name, &session, closed).await,
                    _ => Ended::WithoutJob,
                }
            }
        };
        self.end(name, &ended);
        u8::from(matches!(ended, Ended::WithoutJob))
    }

    fn open(&self, pool: i64, id: i64, agent: &AgentSpec) -> Result<String, Refusal> {
        let system_capabilities = Some(agent.system_capabilities.clone());
        let draft = SessionDraft { agent: id, system_capabilities, ..SessionDraft::default() };
        self.sandbox().change(|state, now| {
            let session = state.open_session(pool, draft, now)?;
            state.begin_poll(pool, &session, now)?;
            Ok(session)
        })
    }

    async fn serve(&self, pool: i64, name: &str, session: &str, closed: impl Future<Output = ()>) -> Ended {
        tokio::pin!(closed);
        let mut last = 0;
        let mut job: Option<(i64, Instant, Instant)> = None;
        let ended = loop {
            tokio::select! {
                biased;
                () = &mut closed => break Ended::Killed,
                () = sleep(LOOK) => {}
            }
            let message = self.sandbox().change(|state, now| state.next_message(pool, session, last, now));
            let Ok(message) = message else { break Ended::WithoutJob };
            if let Some(message) = message {
                last = message.id;
                match message.content {
                    MessageContent::Job(request) => {
                        let taken = self.sandbox().change(|state, now| {
                            let work = state.find_request(request).map(|request| request.job.steps[0].script.clone());
                            state.renew(pool, request, now)?;
                            Ok::<_, Refusal>(work.unwrap_or_default())
                        });
                        // One that was canceled meanwhile is nobody's; a once-agent waits for another.
                        if let Ok(work) = taken {
                            let seconds = work.parse().unwrap_or(1);
                            let now = Instant::now();
                            job = Some((request, now + Duration::from_secs(seconds), now + RENEW_EVERY));
                            self.note(name, Some(request));
                        }
                    }
                    MessageContent::Cancel(request) => {
                        if job.is_some_and(|(of, ..)| of == request) {
                            self.finish(pool, request, JobResult::Canceled);
                            break Ended::Finished;
                        }
                    }
                }
            }
            if let Some((request, until, renew)) = &mut job {
                if *until <= Instant::now() {
                    self.finish(pool, *request, JobResult::Succeeded);
                    break Ended::Finished;
                }
                if *renew <= Instant::now() {
                    *renew += RENEW_EVERY;
                    if self.sandbox().change(|state, now| state.renew(pool, *request, now).map(drop)).is_err() {
                        break Ended::Finished;
                    }
                }
            }
        };
        if matches!(ended, Ended::Killed)
            && let Some((request, ..)) = job
        {
            self.finish(pool, request, JobResult::Canceled);
        }
        self.sandbox().change(|state, now| {
            state.end_poll(pool, session, now);
            let _ = state.close_session(pool, session, now);
        });
        ended
    }

    fn finish(&self, pool: i64, request: i64, result: JobResult) {
        let _ = self.sandbox().change(|state, now| state.finish(pool, request, result, true, now));
    }

    fn begin(&self, pool: &str, name: &str) {
        let purpose = self.root.as_ref().and_then(|root| purpose(root, name));
        let mut seen = self.seen.lock().unwrap();
        seen.started += 1;
        // One that works on another request is none for this one any more.
        let is_for_it = |live: &Live, text: &str| {
            let works_on = live.request.map(|request| format!("request {request} in {}", live.pool));
            live.purpose.as_deref() == Some(text) && works_on.is_none_or(|works_on| works_on == text)
        };
        if let Some(purpose) = purpose.as_ref().filter(|purpose| purpose.starts_with("request"))
            && seen.live.values().any(|live| is_for_it(live, purpose))
        {
            let told = format!("never two: {name} was started for {purpose} while another run for it is there");
            seen.violations.push(told);
        }
        if purpose.is_none() {
            seen.violations.push(format!("never two: nobody knows what {name} was started for"));
        }
        seen.live.insert(name.to_owned(), Live { purpose, pool: pool.to_owned(), request: None });
    }

    fn note(&self, name: &str, request: Option<i64>) {
        if let Some(live) = self.seen.lock().unwrap().live.get_mut(name) {
            live.request = request;
        }
    }

    fn end(&self, name: &str, ended: &Ended) {
        let mut seen = self.seen.lock().unwrap();
        let live = seen.live.remove(name).unwrap_or_default();
        if let (Ended::Killed, Some(request)) = (ended, live.request) {
            let told = format!("spared: {name} in {} was ended while it worked on request {request}", live.pool);
            seen.violations.push(told);
        }
    }
}

/// How an agent's life ended.
#[derive(Debug)]
enum Ended {
    /// Its job is done.
    Finished,
    /// It has no registration or session (any more).
    WithoutJob,
    /// Its process is gone.
    Killed,
}

/// An agent that shows what real ones do: about a hundred variables of 6 kB, and whose it is.
fn agent(name: &str, variables: &[&str]) -> AgentSpec {
    let mut spec = AgentSpec::named(name).with("docker", "1");
    for (name, value) in ["KUBECTL_ADO_INSTALLATION", "KUBECTL_ADO_REGISTRATION"].into_iter().zip(variables) {
        spec = spec.with(name, *value);
    }
    spec.with_variables(90)
}
