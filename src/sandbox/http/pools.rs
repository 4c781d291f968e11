//! `pools`: found by name or number.

use serde_json::Value;

use super::{
    Shared,
    call::{Call, number},
    reply::Reply,
    wire,
};
use crate::sandbox::state::{PoolKind, Refusal};

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

/// Whoever has the token may do everything.
pub(super) fn permission(shared: &Shared, pool: &str) -> Result<Reply, Refusal> {
    let pool = number(pool, "poolId")?;
    shared.see(|state| state.pool(pool).map(|_| Reply::json(&Value::Bool(true))))
}
