//! Lists that are wrong although their status is 200: shorter than what is there, longer, unreadable, or of a while ago.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::reply::Reply;
use crate::sandbox::faults::{FaultKind, ListField};

/// How long answers are remembered.
const KEPT: Duration = Duration::from_secs(120);

/// A list with another number of elements, or with elements of another shape. What is no list stays as it is.
pub(super) fn edit(kind: FaultKind, mut reply: Reply) -> Reply {
    if reply.status != 200 || !is_edit(kind) {
        return reply;
    }
    let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body) else { return reply };
    let (elements, is_bare) = match &mut body {
        Value::Array(elements) => (std::mem::take(elements), true),
        Value::Object(object) => match object.get_mut("value").and_then(Value::as_array_mut) {
            Some(elements) => (std::mem::take(elements), false),
            None => return reply,
        },
        _ => return reply,
    };
    let elements = edited(kind, elements);
    let body = if is_bare { Value::Array(elements) } else { json!({ "count": elements.len(), "value": elements }) };
    reply.body = body.to_string().into();
    reply
}

fn edited(kind: FaultKind, elements: Vec<Value>) -> Vec<Value> {
    match kind {
        FaultKind::EmptyList => Vec::new(),
        FaultKind::HalfList => elements.into_iter().skip(1).step_by(2).collect(),
        FaultKind::ShortList(count) => elements.into_iter().skip(count as usize).collect(),
        FaultKind::DoubledList => elements.iter().flat_map(|element| [element.clone(), element.clone()]).collect(),
        FaultKind::MisshapenList(field) => elements.into_iter().map(|element| misshapen(field, element)).collect(),
        _ => elements,
    }
}

fn is_edit(kind: FaultKind) -> bool {
    use FaultKind::{DoubledList, EmptyList, HalfList, MisshapenList, ShortList};
    matches!(kind, EmptyList | HalfList | ShortList(_) | DoubledList | MisshapenList(_))
}

fn misshapen(field: ListField, mut element: Value) -> Value {
    let names: &[&str] = match field {
        ListField::Element => return "not an object".into(),
        ListField::Id => &["id", "requestId"],
        other => &[other.name()],
    };
    for name in names {
        match element.get_mut(*name) {
            Some(value @ Value::String(_)) => *value = 7.into(),
            Some(value) => *value = "?".into(),
            None => {}
        }
    }
    element
}

/// The answers to the last questions for each list.
#[derive(Debug, Default)]
pub(super) struct PastLists(HashMap<String, PastList>);

#[derive(Debug)]
struct PastList {
    asked: Instant,
    /// What was answered from each moment on.
    answers: VecDeque<(Instant, Bytes)>,
}

impl PastLists {
    /// Remembers what was answered to this call, `METHOD /path?query`.
    pub(super) fn remember(&mut self, call: &str, answer: &Bytes) {
        let now = Instant::now();
        if !self.0.contains_key(call) {
            self.0.retain(|_, list| list.asked + KEPT > now);
        }
        let list = self.0.entry(call.to_owned()).or_insert_with(|| PastList { asked: now, answers: VecDeque::new() });
        list.asked = now;
        if list.answers.back().is_none_or(|(_, last)| last != answer) {
            list.answers.push_back((now, answer.clone()));
        }
        while list.answers.get(1).is_some_and(|(from, _)| *from + KEPT <= now) {
            list.answers.pop_front();
        }
    }

    /// What was answered so long ago, or first if nobody asked then.
    pub(super) fn as_of(&self, call: &str, age: Duration) -> Option<Bytes> {
        let moment = Instant::now().checked_sub(age);
        let answers = &self.0.get(call)?.answers;
        let then = answers.iter().rev().find(|(from, _)| moment.is_some_and(|moment| *from <= moment));
        then.or(answers.front()).map(|(_, answer)| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit_list(kind: FaultKind, elements: &Value) -> Value {
        let reply = edit(kind, Reply::list(elements.as_array().unwrap().clone()));
        assert_eq!(reply.status, 200);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["count"], body["value"].as_array().unwrap().len());
        body["value"].clone()
    }

    #[test]
    fn a_list_is_shortened_doubled_or_bent() {
        let list = json!([{ "id": 1, "name": "a" }, { "id": 2, "name": "b" }, { "id": 3, "name": "c" }]);
        assert_eq!(edit_list(FaultKind::EmptyList, &list), json!([]));
        assert_eq!(edit_list(FaultKind::HalfList, &list), json!([list[1]]));
        assert_eq!(edit_list(FaultKind::ShortList(1), &list), json!([list[1], list[2]]));
        assert_eq!(edit_list(FaultKind::ShortList(9), &list), json!([]));
        assert_eq!(
            edit_list(FaultKind::DoubledList, &json!([list[0], list[1]])),
            json!([list[0], list[0], list[1], list[1]])
        );
        let bent = edit_list(FaultKind::MisshapenList(ListField::Id), &list);
        assert_eq!(bent[0], json!({ "id": "?", "name": "a" }));
        let bent = edit_list(FaultKind::MisshapenList(ListField::Name), &list);
        assert_eq!(bent[0], json!({ "id": 1, "name": 7 }));
        assert_eq!(edit_list(FaultKind::MisshapenList(ListField::Element), &json!([{}])), json!(["not an object"]));
        let requests = json!([{ "requestId": 4 }]);
        assert_eq!(edit_list(FaultKind::MisshapenList(ListField::Id), &requests), json!([{ "requestId": "?" }]));
    }

    #[test]
    fn a_bare_list_stays_bare_and_what_is_no_list_stays_as_it_is() {
        let bare = edit(FaultKind::ShortList(1), Reply::json(&json!([1, 2])));
        assert_eq!(bare.body, "[2]");
        let pool = Reply::json(&json!({ "id": 1 }));
        let body = pool.body.clone();
        assert_eq!(edit(FaultKind::EmptyList, pool).body, body);
        let refusal = Reply::error(404, "x", "y");
        let body = refusal.body.clone();
        assert_eq!(edit(FaultKind::EmptyList, refusal).body, body);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_remembered_as_it_was() {
        let mut lists = PastLists::default();
        assert_eq!(lists.as_of("GET /agents", KEPT), None);
        for (body, seconds) in [("a", 5), ("a", 5), ("b", 10), ("c", 0)] {
            lists.remember("GET /agents", &body.into());
            tokio::time::advance(Duration::from_secs(seconds)).await;
        }
        let as_of = |seconds| lists.as_of("GET /agents", Duration::from_secs(seconds)).unwrap();
        assert_eq!(as_of(0), "c");
        assert_eq!(as_of(10), "b");
        assert_eq!(as_of(11), "a");
        assert_eq!(as_of(1000), "a", "the oldest that is known");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_any_more_is_forgotten() {
        let mut lists = PastLists::default();
        for number in 0..500 {
            lists.remember(&format!("GET /agents?agentName={number}"), &"x".into());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(lists.0.len() <= 121, "{}", lists.0.len());
        for number in 0..500 {
            lists.remember("GET /agents", &format!("{number}").into());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(lists.0["GET /agents"].answers.len() <= 122);
    }
}
