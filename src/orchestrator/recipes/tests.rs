//! Which recipe a template gets, with an organization that answers as it is told to.

use std::cell::RefCell;

use tokio::time::advance;

use super::*;
use crate::{
    azure_devops::{AgentFiles, NewAgent},
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
}

fn wishes(wish: Wish) -> Wishes {
    [(("Linux".to_owned(), "default".to_owned()), wish)].into()
}

fn observed() -> PoolSnapshot {
    PoolSnapshot { pool: "Linux".into(), requests: Vec::new(), agents: Some(Vec::new()), runs: Vec::new() }
}

async fn settle(recipes: &mut Recipes, organization: &Organization, policy: &mut Policy) -> (Recipe, Option<String>) {
    let snapshot = observed();
    recipes.settle(organization, policy, &[(PoolId(1), &snapshot)]).await;
    let template = &policy.pools[0].templates[0];
    (template.recipe, template.recipe_reason.clone())
}

#[tokio::test(start_paused = true)]
async fn what_is_left_open_is_just_in_time_once_the_organization_was_seen_to_carry_it() {
    let organization = Organization { answers: vec![None].into(), ..Organization::default() };
    let (mut recipes, mut policy) = (Recipes::new(wishes(Wish::default())), policy(&["Linux"]));
    assert_eq!(settle(&mut recipes, &organization, &mut policy).await, (Recipe::JustInTime, None));
    assert_eq!(settle(&mut recipes, &organization, &mut policy).await.0, Recipe::JustInTime);
    let tried = organization.tried.borrow();
    assert_eq!(tried.len(), 1, "once is enough");
    let us = Installation::new("test");
    assert!(tried[0].name.starts_with(&format!("placeholder-{}-", us.short())));
}

#[tokio::test(start_paused = true)]
async fn an_organization_that_refuses_is_told_and_tried_again_later() {
    let refused = (ProofStep::SignIn, Error::Unauthorized("invalid_client".into()));
    let organization = Organization { answers: vec![Some(refused), None].into(), ..Organization::default() };
    let (mut recipes, mut policy) = (Recipes::new(wishes(Wish::default())), policy(&["Linux"]));
    let (recipe, reason) = settle(&mut recipes, &organization, &mut policy).await;
    assert_eq!(recipe, Recipe::Token);
    let reason = reason.unwrap();
    assert!(reason.contains("exchange its assertion for a token"), "{reason}");
    settle(&mut recipes, &organization, &mut policy).await;
    assert_eq!(organization.tried.borrow().len(), 1);
    advance(AGAIN).await;
    assert_eq!(settle(&mut recipes, &organization, &mut policy).await, (Recipe::JustInTime, None));
}

#[tokio::test(start_paused = true)]
async fn who_gives_no_answer_is_asked_again_sooner_and_then_less_and_less_often() {
    let silent = || Some((ProofStep::SignIn, Error::Unreachable("no answer".into())));
    let organization = Organization { answers: vec![silent(), silent(), silent()].into(), ..Organization::default() };
    let (mut recipes, mut policy) = (Recipes::new(wishes(Wish::default())), policy(&["Linux"]));
    settle(&mut recipes, &organization, &mut policy).await;
    advance(SOON).await;
    settle(&mut recipes, &organization, &mut policy).await;
    advance(SOON).await;
    settle(&mut recipes, &organization, &mut policy).await;
    assert_eq!(organization.tried.borrow().len(), 2, "the second wait is longer");
    advance(SOON).await;
    settle(&mut recipes, &organization, &mut policy).await;
    assert_eq!(organization.tried.borrow().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_by_name_is_done_and_an_obstacle_is_told_without_a_trial() {
    let organization = Organization::default();
    for recipe in [Recipe::JustInTime, Recipe::InitContainer, Recipe::Token] {
        let obstacle = Some("its image is not ours".to_owned());
        let wish = Wish { registration: Registration::Only(recipe), obstacle };
        let (mut recipes, mut policy) = (Recipes::new(wishes(wish)), policy(&["Linux"]));
        assert_eq!(settle(&mut recipes, &organization, &mut policy).await, (recipe, None));
    }
    let wish = Wish { obstacle: Some("its image is not ours".to_owned()), ..Wish::default() };
    let (mut recipes, mut policy) = (Recipes::new(wishes(wish)), policy(&["Linux"]));
    let (recipe, reason) = settle(&mut recipes, &organization, &mut policy).await;
    assert_eq!((recipe, reason.as_deref()), (Recipe::Token, Some("its image is not ours")));
    assert!(organization.tried.borrow().is_empty());
}
