//! From PUT to gone.

use super::*;

#[test]
fn a_group_goes_from_pending_to_creating_to_running() {
    let mut groups = groups();
    let Accepted::Created(view, operation) = put(&mut groups, "one", body(), 0.0).unwrap() else { panic!() };
    assert_eq!(view["id"].as_str().unwrap().rsplit('/').next(), Some("one"));
    are(&groups, "one", "Pending", "Pending");
    assert_eq!(groups.next_alarm(), Some(at(1.0)));
    groups.advance(at(1.0));
    are(&groups, "one", "Creating", "Pending");
    assert_eq!(groups.operation(operation, "").unwrap().0["status"], "InProgress");
    assert_eq!(groups.take_orders(), []);
    groups.advance(at(2.0));
    are(&groups, "one", "Succeeded", "Running");
    assert_eq!(groups.operation(operation, "").unwrap().0["status"], "Succeeded");
    assert_eq!(instance(&groups, "one")["currentState"]["startTime"], at(2.0).to_string());
    assert!(matches!(groups.take_orders()[..], [Order::Start(1, _)]));
    assert_eq!(groups.next_alarm(), None);
}

#[test]
fn a_look_after_a_long_time_finds_everything_at_its_own_moment() {
    let mut groups = groups();
    put(&mut groups, "one", body(), 0.0).unwrap();
    groups.advance(at(600.0));
    assert_eq!(instance(&groups, "one")["currentState"]["startTime"], at(2.0).to_string());
}

#[test]
fn an_exit_code_decides_whether_a_group_has_succeeded() {
    for (exit, state) in [(0, "Succeeded"), (1, "Failed")] {
        let mut groups = groups();
        let process = run(&mut groups, "one", body(), 0.0);
        groups.ended(process, exit, at(5.0));
        are(&groups, "one", "Succeeded", state);
        let current = &instance(&groups, "one")["currentState"];
        assert_eq!((&current["exitCode"], &current["finishTime"]), (&json!(exit), &json!(at(5.0).to_string())));
        assert_eq!(groups.history()[0].exit_code, Some(exit));
        assert_eq!(groups.next_alarm(), None);
    }
}

#[test]
fn the_restart_policy_is_honoured_and_is_always_where_there_is_none() {
    for (policy, exit, again) in [
        (json!("Never"), 1, false),
        (json!("OnFailure"), 0, false),
        (json!("OnFailure"), 1, true),
        (json!("Always"), 0, true),
        (Value::Null, 0, true),
    ] {
        let mut groups = groups();
        let mut body = body();
        body["properties"]["restartPolicy"] = policy.clone();
        let process = run(&mut groups, "one", body, 0.0);
        groups.ended(process, exit, at(5.0));
        groups.advance(at(6.0));
        assert_eq!(groups.history()[0].starts, if again { 2 } else { 1 }, "{policy} {exit}");
        assert_eq!(instance(&groups, "one")["restartCount"], u32::from(again));
        if again {
            assert_eq!(instance(&groups, "one")["previousState"]["detailStatus"], "CrashLoopBackOff");
            assert_ne!(started(&mut groups), process);
        }
    }
}

#[test]
fn an_image_that_cannot_be_pulled_fails_the_group_and_says_so() {
    let mut groups = groups();
    let mut body = body();
    body["properties"]["containers"][0]["properties"]["image"] = json!("registry.example/unpullable:1");
    let Ok(Accepted::Created(_, operation)) = put(&mut groups, "one", body, 0.0) else { panic!() };
    groups.advance(at(2.0));
    are(&groups, "one", "Failed", "Failed");
    let (view, is_over, _) = groups.operation(operation, "").unwrap();
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("Failed"), &json!("InaccessibleImage")));
    assert!(is_over);
    let events = instance(&groups, "one")["events"].to_string();
    assert!(events.contains("Failed to pull image"), "{events}");
    assert_eq!(groups.take_orders(), []);
}

#[test]
fn a_group_can_fail_or_be_stuck_as_it_is_told() {
    let mut groups = groups();
    groups.put("g", "fails", body(), Fate::Fail, at(0.0)).unwrap();
    groups.put("g", "stuck", body(), Fate::Stuck, at(0.0)).unwrap();
    groups.advance(at(9999.0));
    are(&groups, "fails", "Failed", "Failed");
    are(&groups, "stuck", "Pending", "Pending");
    assert!(matches!(groups.delete("g", "stuck", at(9999.0)), Ok(Accepted::GoingOn(_))));
    assert_eq!(groups.operation(2, "").unwrap().0["status"], "Canceled");
}

#[test]
fn a_deleted_group_is_gone_when_its_process_has_ended() {
    let mut groups = groups();
    let process = run(&mut groups, "one", body(), 0.0);
    let Ok(Accepted::GoingOn(operation)) = groups.delete("G", "ONE", at(10.0)) else { panic!() };
    assert_eq!(groups.take_orders(), [Order::Stop(process)]);
    groups.advance(at(60.0));
    assert_eq!(states(&groups, "one").0, "Deleting");
    assert_eq!(code(groups.delete("g", "one", at(60.0))), (409, "ContainerGroupTransitioning"));
    groups.ended(process, 143, at(61.0));
    assert_eq!(groups.count(), 0);
    assert_eq!(groups.operation(operation, "").unwrap().0["status"], "Succeeded");
    assert_eq!(groups.history()[0].deleted_at, Some(at(61.0)));
    assert_eq!(groups.delete("g", "one", at(62.0)), Ok(Accepted::Absent));
}

#[test]
fn a_deletion_that_takes_no_time_is_done_at_once_if_nothing_runs() {
    let mut groups = Groups::new("s", AzureRules { deletion: Duration::ZERO, ..rules() });
    let process = run(&mut groups, "one", body(), 0.0);
    run(&mut groups, "two", body(), 0.0);
    groups.ended(process, 0, at(3.0));
    assert!(matches!(groups.delete("g", "one", at(4.0)), Ok(Accepted::Done(Some(_)))));
    assert!(matches!(groups.delete("g", "two", at(4.0)), Ok(Accepted::GoingOn(_))));
}

#[test]
fn a_name_can_be_used_again_and_is_another_group_then() {
    let mut groups = groups();
    let process = run(&mut groups, "one", body(), 0.0);
    groups.ended(process, 0, at(3.0));
    groups.delete("g", "one", at(4.0)).unwrap();
    groups.advance(at(5.0));
    put(&mut groups, "one", body(), 6.0).unwrap();
    let puts: Vec<_> = groups.history().iter().map(|record| (record.name.as_str(), record.puts)).collect();
    assert_eq!((puts, groups.peak()), (vec![("one", 1), ("one", 1)], 1));
}

#[test]
fn other_containers_seem_to_run_and_keep_the_group_running() {
    let mut groups = groups();
    let mut body = body();
    let mut other = body["properties"]["containers"][0].clone();
    other["name"] = json!("proxy");
    body["properties"]["containers"].as_array_mut().unwrap().insert(0, other);
    let process = run(&mut groups, "one", body, 0.0);
    groups.ended(process, 0, at(3.0));
    are(&groups, "one", "Succeeded", "Running");
    assert_eq!(groups.process_of("g", "one", "agent"), Ok(Some(process)));
    assert_eq!(groups.process_of("g", "one", "proxy"), Ok(None));
    assert_eq!(code(groups.process_of("g", "one", "none")), (404, "ContainerNotFound"));
}
