//! When a Job that has ended goes.

use super::*;

#[test]
fn the_end_of_a_job_is_ours_only_where_the_template_is_silent() {
    let job = from(json!({})).job();
    assert_eq!(job["spec"]["backoffLimit"], 0);
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 600);
    assert_eq!(job["metadata"]["annotations"]["kubectl-ado/managed-ttl"], "true");
    let job = from(json!({"spec": {"backoffLimit": 2, "ttlSecondsAfterFinished": 30}})).job();
    assert_eq!((&job["spec"]["backoffLimit"], &job["spec"]["ttlSecondsAfterFinished"]), (&json!(2), &json!(30)));
    assert!(job["metadata"]["annotations"].get("kubectl-ado/managed-ttl").is_none());
}

#[test]
fn a_ttl_that_leaves_no_time_to_see_a_failure_is_raised_with_a_warning() {
    for short in [0, 1, 29] {
        let made = from(json!({"spec": {"ttlSecondsAfterFinished": short}})).make().unwrap();
        assert_eq!(made.job["spec"]["ttlSecondsAfterFinished"], 30);
        assert!(made.job["metadata"]["annotations"].get("kubectl-ado/managed-ttl").is_none());
        assert!(made.warnings[0].contains(&format!("ttlSecondsAfterFinished {short} is raised to 30")));
    }
}

#[test]
fn a_ttl_is_never_so_short_that_a_failure_goes_unseen() {
    assert_eq!(ttl_seconds(Duration::ZERO), 60);
    assert_eq!(ttl_seconds(Duration::from_secs(u64::MAX)), i32::MAX);
}
