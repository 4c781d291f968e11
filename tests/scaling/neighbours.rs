//! Two installations on one pool while it is busy: each minds its own agents.

use std::{collections::BTreeSet, time::Duration};

use control_plane::{Behaviour, Node};
use kubectl_ado::{
    core::Installation,
    sandbox::{AgentSpec, JobResult},
};

use crate::world::{Running, World, agent_entrypoint};

const REQUESTS: usize = 30;

/// For each of the two.
const MOST_AGENTS: usize = 5;

/// Dead registrations, of each of the two.
const DEAD: usize = 10;

const OLD: Duration = Duration::from_secs(20 * 60);

/// One of the two installations.
struct Neighbour {
    serve: Running,
    id: &'static str,
    /// What stands in the name of each agent of it.
    short: String,
    world: World,
    _node: Node,
}

impl Neighbour {
    fn at_work(world: World, id: &'static str) -> Self {
        let behaviour = Behaviour::Run { entrypoint: agent_entrypoint() };
        let node = Node::start(world.plane, world.namespace.name(), behaviour);
        let most = MOST_AGENTS.to_string();
        let serve = world.serve("Shared").set("INSTALLATION_ID", id).set("MAXIMUM_AGENT_COUNT", most).start();
        let short = format!("-{}-", Installation::new(id).short());
        Self { serve, id, short, world, _node: node }
    }

    /// The names of the agents and Jobs that its log says something of.
    fn touched(&self) -> BTreeSet<String> {
        let lines = self.serve.lines();
        let names = lines.iter().flat_map(|line| ["agent", "run"].map(|field| line.get(field)));
        names.flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }

    /// The most agents that it took for its own at once.
    fn most_counted(&self) -> u64 {
        let counted = |line: &serde_json::Value| {
            ["starting", "busy", "idle"].iter().map(|state| line.get(state)?.as_u64()).sum::<Option<u64>>()
        };
        self.serve.lines().iter().filter_map(counted).max().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_installations_on_a_busy_pool_none_replaces_sweeps_or_counts_an_agent_of_the_other() {
    let blue = World::new("blue").await;
    let green = World::beside("green", &blue.sandbox).await;
    let sandbox = blue.sandbox.clone();
    let pool = blue.pool("Shared");
    let dead = |id: &str, number| {
        let name = format!("agent-job-{}-dead{number}", Installation::new(id).short());
        AgentSpec::named(name).with("KUBECTL_ADO_INSTALLATION", id)
    };
    for id in ["blue", "green"] {
        for number in 0..DEAD {
            sandbox.add_old_agent(pool, dead(id, number), OLD).unwrap();
        }
    }
    let requests = blue.queue_script(pool, REQUESTS, "sleep 1");
    let both = [Neighbour::at_work(blue, "blue"), Neighbour::at_work(green, "green")];

    let served =
        sandbox.until(Duration::from_secs(120), |state| state.requests().all(|request| request.result.is_some())).await;
    assert!(served, "{}\n{}", both[0].serve.log(), both[1].serve.log());
    for id in requests {
        assert_eq!(sandbox.request(id).unwrap().result, Some(JobResult::Succeeded));
    }

    let history = sandbox.history();
    for neighbour in &both {
        let Neighbour { serve, id, short, world, .. } = neighbour;
        let touched = neighbour.touched();
        let others: Vec<_> = touched.iter().filter(|name| !name.contains(short.as_str())).collect();
        assert!(others.is_empty(), "{id} touched {others:?}");
        assert_eq!(serve.log().matches("agent deregistered: it was left behind").count(), DEAD, "{id}");
        // One that counted the other's agents as its own would stop short of its maximum.
        assert_eq!(neighbour.most_counted(), MOST_AGENTS as u64, "{id}");
        let mine: Vec<_> = history.iter().filter(|agent| agent.name.contains(short.as_str())).collect();
        let worked = mine.iter().filter(|agent| agent.received > 0).count();
        println!("{id}: {} Jobs, {worked} requests served", world.jobs_ever_made());
        assert!(worked > 0 && mine.iter().all(|agent| agent.received <= 1), "{id}: {mine:?}");
        world.the_token_is_nowhere().await;
    }
    // Whoever registers under a name that is taken replaces by PUT. All PUTs are placeholders that their owners update.
    let replaced = sandbox.calls().get("PUT distributedtask/pools/{id}/agents/{id}").copied().unwrap_or_default();
    let updated: usize =
        both.iter().map(|neighbour| neighbour.serve.log().matches("placeholder agent updated").count()).sum();
    assert_eq!(replaced, updated as u64);
}
