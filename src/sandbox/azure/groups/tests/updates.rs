//! A second PUT, and what can be done with a group besides.

use super::*;

#[test]
fn a_second_put_is_an_update_that_restarts_what_runs() {
    let mut groups = groups();
    let first = run(&mut groups, "one", body(), 0.0);
    assert!(matches!(put(&mut groups, "one", body(), 5.0), Ok(Accepted::Updated(..))));
    assert_eq!(groups.take_orders(), [Order::Stop(first)]);
    are(&groups, "one", "Pending", "Pending");
    // What the first one ends with is not this one's end.
    groups.ended(first, 143, at(6.0));
    groups.advance(at(7.0));
    are(&groups, "one", "Succeeded", "Running");
    let record = &groups.history()[0];
    assert_eq!((groups.history().len(), record.puts, record.starts), (1, 2, 2));
}

#[test]
fn a_group_in_transition_refuses_to_be_changed() {
    let mut groups = groups();
    put(&mut groups, "one", body(), 0.0).unwrap();
    let transitioning = (409, "ContainerGroupTransitioning");
    for now in [0.5, 1.5] {
        assert_eq!(code(put(&mut groups, "one", body(), now)), transitioning);
        assert_eq!(code(groups.delete("g", "one", at(now))), transitioning);
        assert_eq!(code(groups.stop("g", "one", at(now))), transitioning);
    }
    assert!(groups.delete("g", "one", at(2.0)).is_ok());
    assert_eq!(code(put(&mut groups, "one", body(), 2.0)), transitioning);

    let mut lenient = Groups::new("s", AzureRules { refuse_deletion_in_transition: false, ..rules() });
    put(&mut lenient, "one", body(), 0.0).unwrap();
    assert!(lenient.delete("g", "one", at(0.5)).is_ok());
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let mut groups = groups();
    run(&mut groups, "one", body(), 0.0);
    let mut other = body();
    other["properties"]["restartPolicy"] = json!("Always");
    assert_eq!(code(put(&mut groups, "one", other, 5.0)), (400, "InvalidContainerGroupUpdate"));
    let mut other = body();
    other["properties"]["containers"][0]["properties"]["resources"]["requests"]["cpu"] = json!(2);
    assert_eq!(code(put(&mut groups, "one", other, 5.0)), (400, "InvalidContainerGroupUpdate"));
}

#[test]
fn a_group_is_stopped_started_and_restarted() {
    let mut groups = groups();
    let first = run(&mut groups, "one", body(), 0.0);
    assert_eq!(groups.stop("g", "one", at(3.0)), Ok(Accepted::Done(None)));
    assert_eq!(groups.take_orders(), [Order::Stop(first)]);
    groups.ended(first, 143, at(4.0));
    are(&groups, "one", "Succeeded", "Stopped");
    assert!(matches!(groups.start("g", "one", at(5.0)), Ok(Accepted::GoingOn(_))));
    groups.advance(at(7.0));
    are(&groups, "one", "Succeeded", "Running");
    let second = started(&mut groups);
    assert_eq!(groups.restart("g", "one", at(8.0)), Ok(Accepted::Done(None)));
    assert_eq!(groups.take_orders(), [Order::Stop(second)]);
    assert_eq!(code(groups.start("g", "none", at(9.0))), (404, "ResourceNotFound"));
}

#[test]
fn tags_are_changed_alone() {
    let mut groups = groups();
    run(&mut groups, "one", body(), 0.0);
    let now = at(3.0);
    assert_eq!(code(groups.tag("g", "one", &json!({ "location": "x" }), now)), (400, "InvalidRequestContent"));
    groups.tag("g", "one", &json!({ "tags": { "a": "b" } }), now).unwrap();
    assert_eq!(groups.get("g", "one").unwrap()["tags"], json!({ "a": "b" }));
    assert_eq!(groups.history()[0].starts, 1);
}
