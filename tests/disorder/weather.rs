//! What is wrong with the world for a while, beside single calls that fail by chance (`storm`): slow calls of one kind,
//! lists that are not whole, a token that may only read, a pool out of sight, an API server that hangs on one verb.
//!
//! It also notes who refused what and when, so that the test can count how often something that was refused is asked
//! for again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::Method;
use tokio::time::Instant;

/// The kinds of calls to Azure DevOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Pool,
    Requests,
    Agents,
    ParallelJobs,
    Disable,
    Deregister,
    Register,
    Update,
    Session,
}

impl Call {
    pub(crate) const ALL: [Self; 9] = [
        Self::Pool,
        Self::Requests,
        Self::Agents,
        Self::ParallelJobs,
        Self::Disable,
        Self::Deregister,
        Self::Register,
        Self::Update,
        Self::Session,
    ];
}

/// How a list is not what it should be, although the status is 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Empty,
    /// The later half is missing.
    Halved,
    /// Each element stands in it twice.
    Doubled,
    /// Some element cannot be read, as the real client says it.
    Misshapen,
}

/// One thing that is wrong. `pool: None` is all pools, `call: None` all calls.
#[derive(Clone, Debug)]
pub(crate) enum Adversity {
    SlowCall {
        call: Option<Call>,
        pool: Option<String>,
        by: Duration,
    },
    BadList {
        call: Call,
        pool: Option<String>,
        shape: Shape,
    },
    /// Every change is refused with 403.
    ReadOnly {
        pool: Option<String>,
    },
    /// The pool is not found, and whoever knows its number sees empty lists.
    OutOfSight {
        pool: String,
    },
    /// From [`NEVER`] on, the API server does not answer at all.
    SlowApi {
        method: Method,
        plural: &'static str,
        by: Duration,
    },
}

/// A call that takes longer than this is never made.
pub(crate) const NEVER: Duration = Duration::from_secs(60);

/// How long each call to the API server has.
pub(crate) const API_DEADLINE: Duration = Duration::from_secs(10);

/// How long each call to Azure DevOps has, by the real client's deadline.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Something that is wrong from one moment to another, both counted from the beginning.
#[derive(Clone, Debug)]
pub(crate) struct Spell {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) what: Adversity,
}

/// All of it. Those who hold it hold the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    begun: OnceLock<Instant>,
    spells: Vec<Spell>,
    /// How many orchestrators have begun.
    lives: AtomicU64,
    /// By the orchestrator that lived and what it asked for.
    refused: Mutex<BTreeMap<(u64, String), Vec<Instant>>>,
}

impl Weather {
    /// It begins now.
    pub(crate) fn of(spells: Vec<Spell>) -> Self {
        let shared = Shared {
            begun: OnceLock::from(Instant::now()),
            spells,
            lives: AtomicU64::new(0),
            refused: Mutex::default(),
        };
        Self(Arc::new(shared))
    }

    /// When the last of it is over.
    pub(crate) fn ends(&self) -> Instant {
        let last = self.0.spells.iter().map(|spell| spell.until).max().unwrap_or_default();
        self.begun() + last
    }

    fn begun(&self) -> Instant {
        *self.0.begun.get_or_init(Instant::now)
    }

    /// What was wrong at any moment from `since` to now.
    fn since(&self, since: Instant) -> impl Iterator<Item = &Adversity> {
        let (begun, now) = (self.begun(), Instant::now());
        let spells = self.0.spells.iter();
        spells.filter(move |spell| begun + spell.from <= now && begun + spell.until > since).map(|spell| &spell.what)
    }

    fn now(&self) -> impl Iterator<Item = &Adversity> {
        self.since(Instant::now())
    }

    /// How long a call takes at this moment.
    pub(crate) fn delay(&self, call: Call, pool: Option<&str>) -> Duration {
        self.longest_delay(call, pool, Instant::now())
    }

    /// How long a call took at most, from a moment on.
    pub(crate) fn longest_delay(&self, call: Call, pool: Option<&str>, since: Instant) -> Duration {
        let delays = self.since(since).filter_map(|what| match what {
            Adversity::SlowCall { call: of, pool: in_pool, by }
                if of.is_none_or(|of| of == call) && is_meant(in_pool.as_ref(), pool) =>
            {
                Some(*by)
            }
            _ => None,
        });
        delays.max().unwrap_or_default()
    }

    /// How a list of this pool looks at this moment.
    pub(crate) fn shape(&self, call: Call, pool: &str) -> Option<Shape> {
        self.now().find_map(|what| match what {
            Adversity::BadList { call: of, pool: in_pool, shape }
                if *of == call && is_meant(in_pool.as_ref(), Some(pool)) =>
            {
                Some(*shape)
            }
            Adversity::OutOfSight { pool: out } if out == pool => Some(Shape::Empty),
            _ => None,
        })
    }

    /// Whether a list of this pool could not be read at any moment from `since` on.
    pub(crate) fn was_unreadable(&self, pool: &str, since: Instant) -> bool {
        self.since(since).any(|what| {
            let Adversity::BadList { pool: in_pool, shape: Shape::Misshapen, .. } = what else { return false };
            is_meant(in_pool.as_ref(), Some(pool))
        })
    }

    /// Whether lists of this pool lacked something at any moment from `since` on.
    pub(crate) fn lied(&self, pool: &str, since: Instant) -> bool {
        self.since(since).any(|what| match what {
            Adversity::BadList { pool: in_pool, shape: Shape::Empty | Shape::Halved, .. } => {
                is_meant(in_pool.as_ref(), Some(pool))
            }
            Adversity::OutOfSight { pool: out } => out == pool,
            _ => false,
        })
    }

    pub(crate) fn is_out_of_sight(&self, pool: &str) -> bool {
        self.now().any(|what| matches!(what, Adversity::OutOfSight { pool: out } if out == pool))
    }

    pub(crate) fn is_read_only(&self, pool: Option<&str>) -> bool {
        self.was_read_only(pool, Instant::now())
    }

    pub(crate) fn was_read_only(&self, pool: Option<&str>, since: Instant) -> bool {
        self.since(since).any(|what| match what {
            Adversity::ReadOnly { pool: in_pool } => is_meant(in_pool.as_ref(), pool),
            Adversity::OutOfSight { pool: out } => pool == Some(out.as_str()),
            _ => false,
        })
    }

    /// How long the API server takes for a call at this moment.
    pub(crate) fn api_delay(&self, method: &Method, plural: &str) -> Duration {
        self.longest_api_delay(method, plural, Instant::now())
    }

    /// How long it took at most, from a moment on.
    pub(crate) fn longest_api_delay(&self, method: &Method, plural: &str, since: Instant) -> Duration {
        let delays = self.since(since).filter_map(|what| match what {
            Adversity::SlowApi { method: of, plural: kind, by } if of == method && *kind == plural => Some(*by),
            _ => None,
        });
        delays.max().unwrap_or_default()
    }

    /// A call was refused.
    pub(crate) fn refused(&self, what: &str) {
        let key = (self.0.lives.load(Ordering::Relaxed), what.to_owned());
        self.0.refused.lock().unwrap().entry(key).or_default().push(Instant::now());
    }

    /// An orchestrator begins, which does not know what was refused before.
    pub(crate) fn life_begins(&self) {
        self.0.lives.fetch_add(1, Ordering::Relaxed);
    }

    /// What was refused more often than so many times within a time, and how often.
    pub(crate) fn asked_too_often(&self, most: usize, within: Duration) -> Option<(String, usize)> {
        let refused = self.0.refused.lock().unwrap();
        refused.iter().find_map(|((_, what), times)| {
            let counted = |(place, first): (usize, &Instant)| {
                times[place..].iter().take_while(|time| **time < *first + within).count()
            };
            let worst = times.iter().enumerate().map(counted).max().unwrap_or_default();
            (worst > most).then(|| (what.clone(), worst))
        })
    }
}

fn is_meant(wanted: Option<&String>, pool: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| pool == Some(wanted.as_str()))
}
