//! Which recipe a template gets, with an organization that answers as it is told to.

use std::cell::RefCell;

use tokio::time::advance;

use super::*;
use crate::{
    azure_devops::{AgentFiles, AzureDevOps, NewAgent},
    clock::ServerClock,
    core::{Agent, AgentId, Installation, JobRequest, ParallelJobs, Placeholder},
    orchestrator::fixtures::policy,
};

/// An organization that answers the trials one after the other, and nothing else.
#[derive(Default)]
struct Organization {
    answers: RefCell<Vec<Option<(ProofStep, Error)>>>,
    tried: RefCell<Vec<Placeholder>>,
}

impl AzureDevOps for Organization {
    async fn pool(&self, _: &str) -> Result<PoolId, Error> {
        unreachable!()
    }
    async fn job_requests(&self, _: PoolId) -> Result<Vec<JobRequest>, Error> {
        unreachable!()
    }
    async fn agents(&self, _: PoolId) -> Result<Vec<Agent>, Error> {
        unreachable!()
    }
    async fn parallel_jobs(&self) -> Result<BTreeMap<String, ParallelJobs>, Error> {
        unreachable!()
    }
    async fn disable(&self, _: PoolId, _: AgentId) -> Result<(), Error> {
        unreachable!()
    }
    async fn deregister(&self, _: PoolId, _: AgentId) -> Result<(), Error> {
        unreachable!()
    }
    async fn register(&self, _: PoolId, _: &Placeholder) -> Result<(), Error> {
        unreachable!()
    }
    async fn update(&self, _: PoolId, _: AgentId, _: &Placeholder) -> Result<(), Error> {
        unreachable!()
    }
    async fn enroll(&self, _: PoolId, _: &NewAgent) -> Result<AgentFiles, Error> {
        unreachable!()
    }
    async fn prove(&self, _: PoolId, agent: Option<AgentId>, placeholder: &Placeholder) -> Proof {
        self.tried.borrow_mut().push(placeholder.clone());
        Proof { agent, failed: self.answers.borrow_mut().remove(0) }
    }

    fn clock(&self) -> ServerClock {
        ServerClock::default()
    }
}

fn wishes(wish: Wish) -> Wishes {
    [(("Linux".to_owned(), "default".to_owned()), wish)].into()
}

fn observed() -> PoolSnapshot {
    PoolSnapshot { pool: "Linux".into(), requests: Vec::new(), agents: Some(Vec::new()), runs: Vec::new() }
}

/// How agents of the template get the right to work, why in no safer way, and why that is not known.
type Settled = (Recipe, Option<String>, Option<String>);

/// Makes the trial that is due, if one is, and says how the template's agents get the right to work then.
async fn settle(recipes: &mut Recipes, organization: &Organization, policy: &mut Policy) -> Settled {
    settle_with(recipes, organization, policy, observed()).await
}

async fn settle_with(
    recipes: &mut Recipes,
    organization: &Organization,
    policy: &mut Policy,
    snapshot: PoolSnapshot,
) -> Settled {
    recipes.remember(policy, &snapshot);
    if let Some(trial) = recipes.due(policy, &[(0, PoolId(1), &snapshot)], Instant::now()) {
        let proof = organization.prove(trial.pool, trial.agent, &trial.placeholder).await;
        recipes.tried(&trial.placeholder.name, Some(proof), Instant::now());
    }
    recipes.settle(policy);
    let template = &policy.pools[0].templates[0];
    (template.recipe, template.recipe_reason.clone(), template.registration_pending.clone())
}

fn silent() -> Option<(ProofStep, Error)> {
    Some((ProofStep::SignIn, Error::Unreachable("no answer".into())))
}

fn refused() -> Option<(ProofStep, Error)> {
    Some((ProofStep::SignIn, Error::Unauthorized("invalid_client".into())))
}

#[tokio::test(start_paused = true)]
async fn what_is_left_open_is_just_in_time_once_the_organization_was_seen_to_support_it() {
    let organization = Organization { answers: vec![None].into(), ..Organization::default() };
    let (mut recipes, mut policy) = (Recipes::new(wishes(Wish::default())), policy(&["Linux"]));
    assert_eq!(settle(&mut recipes, &organization, &mut policy).await, (Recipe::JustInTime, None, None));
    assert_eq!(settle(&mut recipes, &organization, &mut policy).await.0, Recipe::JustInTime);
    let tried = organization.tried.borrow();
    assert_eq!(tried.len(), 1, "once is enough");
    let us = Installation::new("test");
    assert!(tried[0].name.starts_with(&format!("placeholder-{}-", us.short())));
}

#[tokio::test(start_paused = true)]
async fn an_organization_that_refuses_is_told_and_tried_again_later() {
    let organization = Organization { answers: vec![refused(), None].into(), ..Organization::default() };
    let (mut recipes, mut policy) = (Recipes::new(wishes(Wish::default())), policy(&["Linux"]));
    let (recipe, reason, pending) = settle(&mut recipes, &organization, &mut policy).await;
    assert_eq!((recipe, pending), (Recipe::Token, None));
    let reason = reason.unwrap();
    assert!(reason.contains("exchange its assertion for a token"), "{reason}");
    let finding = recipes.finding().unwrap();
    assert_eq!((finding.code, finding.message.contains(&reason)), (Code::RegistrationByToken, true));
    settle(&mut recipes, &organization, &mut policy).await;
    assert_eq!(organization.tried.borrow().len(), 1);
    advance(AGAIN).await;
    assert_eq!(settle(&mut recipes, &organization, &mut policy).await, (Recipe::JustInTime, None, None));
    assert_eq!(recipes.finding(), None);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_no_agent_is_started_and_it_is_tried_again_after_one_two_and_four_seconds() {
    let answers = vec![silent(), silent(), silent(), None].into();
    let organization = Organization { answers, ..Organization::default() };
    let (mut recipes, mut policy) = (Recipes::new(wishes(Wish::default())), policy(&["Linux"]));
    for wait in [1, 2, 4] {
        let (recipe, _, pending) = settle(&mut recipes, &organization, &mut policy).await;
        assert!(recipe == Recipe::JustInTime && pending.unwrap().contains("no answer"));
        let tried = organization.tried.borrow().len();
        settle(&mut recipes, &organization, &mut policy).await;
        assert_eq!(organization.tried.borrow().len(), tried, "not at once");
        advance(Duration::from_secs(wait)).await;
    }
    assert_eq!(settle(&mut recipes, &organization, &mut policy).await, (Recipe::JustInTime, None, None));
}

#[tokio::test(start_paused = true)]
async fn what_a_placeholder_remembers_holds_until_the_organization_has_refused_twice() {
    let answers = vec![silent(), refused(), silent(), refused(), refused()].into();
    let organization = Organization { answers, ..Organization::default() };
    let (mut recipes, mut policy) = (Recipes::new(wishes(Wish::default())), policy(&["Linux"]));
    // What another process has left, which has seen it work.
    let mut known = policy.clone();
    known.pools[0].templates[0].recipe = Recipe::JustInTime;
    let (_, left) =
        placeholder(&known.installation, &known.organization, &known.pools[0], &observed(), "default").unwrap();
    let agent = Agent {
        id: AgentId(1),
        name: left.name,
        enabled: false,
        online: false,
        assigned: None,
        capabilities: left.capabilities,
        created_at: None,
        status_changed_at: None,
        last_finished_at: None,
    };
    let seen = || PoolSnapshot { agents: Some(vec![agent.clone()]), ..observed() };
    for _ in 0..4 {
        let settled = settle_with(&mut recipes, &organization, &mut policy, seen()).await;
        assert_eq!(settled, (Recipe::JustInTime, None, None));
        advance(Duration::from_secs(30)).await;
    }
    assert_eq!(settle_with(&mut recipes, &organization, &mut policy, seen()).await.0, Recipe::Token);
}

#[test]
fn only_an_answer_about_just_in_time_agents_is_a_refusal() {
    let unavailable = |status| Error::Unavailable { status, message: String::new() };
    for error in [unavailable(500), unavailable(503), unavailable(429), Error::Unreadable(String::new())] {
        assert!(may_pass(ProofStep::OpenSession, &error), "{error}");
    }
    let unauthorized = Error::Unauthorized(String::new());
    assert!(may_pass(ProofStep::Register, &unauthorized), "our token has expired");
    assert!(!may_pass(ProofStep::SignIn, &unauthorized) && !may_pass(ProofStep::OpenSession, &unavailable(400)));
    assert!(!may_pass(ProofStep::Register, &Error::Forbidden(String::new())));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_by_name_is_done_and_an_obstacle_is_told_without_a_trial() {
    let organization = Organization::default();
    for recipe in [Recipe::JustInTime, Recipe::InitContainer, Recipe::Token] {
        let obstacle = Some("its image is not ours".to_owned());
        let wish = Wish { registration: Registration::Only(recipe), obstacle };
        let (mut recipes, mut policy) = (Recipes::new(wishes(wish)), policy(&["Linux"]));
        assert_eq!(settle(&mut recipes, &organization, &mut policy).await, (recipe, None, None));
    }
    let wish = Wish { obstacle: Some("its image is not ours".to_owned()), ..Wish::default() };
    let (mut recipes, mut policy) = (Recipes::new(wishes(wish)), policy(&["Linux"]));
    let (recipe, reason, _) = settle(&mut recipes, &organization, &mut policy).await;
    assert_eq!((recipe, reason.as_deref()), (Recipe::Token, Some("its image is not ours")));
    assert!(organization.tried.borrow().is_empty());
}
