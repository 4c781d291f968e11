//! A world that is as bad as the real one, and what has to hold in it at every moment.
//!
//! The storms of `schedules` let single calls fail by chance and ask in the end whether all is well. Here whole kinds of
//! calls are slow, lists are not whole, clocks differ, the API server forgets (`weather`, `happening`), and an
//! `overseer` compares each second what the orchestrator does and says with what is true (`history`). Its invariants:
//!
//! * **never two**: no two runs that could take a job request are live for the same one.
//! * **alive**: while there is room and nothing forbids it, each waiting request has a run within a bound that is computed from
//!   the delays.
//! * **enough**: `minAgents` and `idleAgents` are restored within the same bound, and agents of a pool that is no longer
//!   served go.
//! * **spared**: no run is ended whose agent works, that waits in a queue of the cluster, or that has its startTimeout yet;
//!   one that ended well is kept for `keepFinished`.
//! * **told**: what the report and the metrics say is true, and no request waits in silence.
//! * **calm**: what is refused is not asked for again at full speed.
//!
//! `directed` has a small schedule for each fault that was once found, `drawn` draws schedules from seeds.

mod directed;
mod drawn;
mod happening;
mod overseer;
mod play;
mod real;
mod scene;
