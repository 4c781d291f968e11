//! `pools`: found by name or number, made, renamed, deleted.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Shared,
    call::{Call, number},
    reply::Reply,
    wire,
};
use crate::sandbox::state::{PoolKind, PoolSpec, Refusal};

/// A name that is not there is an empty list, not an error.
pub(super) fn list(shared: &Shared, call: &Call) -> Result<Reply, Refusal> {
    let ids = call.numbers("poolIds")?;
    let name = call.query("poolName").filter(|name| !name.is_empty()).map(str::to_lowercase);
    let deployment = call.query("poolType").map(|kind| kind.eq_ignore_ascii_case("deployment"));
    let pools: Vec<Value> = shared.see(|state| {
        state
            .pools()
            .filter(|pool| ids.as_ref().is_none_or(|ids| ids.contains(&pool.id)))
            .filter(|pool| name.as_ref().is_none_or(|name| pool.name.to_lowercase() == *name))
            .filter(|pool| deployment.is_none_or(|wanted| wanted == (pool.kind == PoolKind::Deployment)))
            .map(wire::pool)
            .collect()
    });
    Ok(Reply::list(pools))
}

pub(super) fn get(shared: &Shared, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    shared.see(|state| state.pool(pool).map(|pool| Reply::json(&wire::pool(pool))))
}

/// A pool as clients send it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    name: Option<String>,
    pool_type: Option<String>,
}

pub(super) fn create(shared: &Shared, call: &Call) -> Result<Reply, Refusal> {
    let body: Body = call.json()?;
    let name = body.name.filter(|name| !name.trim().is_empty());
    let name = name.ok_or_else(|| Refusal::Invalid("The agent pool has no name.".to_owned()))?;
    let is_deployment = body.pool_type.is_some_and(|kind| kind.eq_ignore_ascii_case("deployment"));
    let kind = if is_deployment { PoolKind::Deployment } else { PoolKind::Ordinary };
    let id = shared.with(|state, now| state.add_pool(PoolSpec { name, kind }, now))?;
    shared.see(|state| state.pool(id).map(|pool| Reply::json(&wire::pool(pool))))
}

/// Its name is all that can be changed here.
pub(super) fn update(shared: &Shared, call: &Call, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    let body: Body = call.json()?;
    if let Some(name) = body.name {
        shared.with(|state, now| state.rename_pool(pool, name, now))?;
    }
    shared.see(|state| state.pool(pool).map(|pool| Reply::json(&wire::pool(pool))))
}

pub(super) fn delete(shared: &Shared, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    shared.with(|state, now| state.remove_pool(pool, now))?;
    Ok(Reply::empty(204))
}

/// Whoever has the token may do everything.
pub(super) fn permission(shared: &Shared, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    shared.see(|state| state.pool(pool).map(|_| Reply::json(&Value::Bool(true))))
}
