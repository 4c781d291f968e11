//! Quotas and throttling.

use super::{
    super::{Bucket, Sort},
    *,
};

#[test]
fn finished_groups_count_until_they_are_deleted() {
    let mut groups = Groups::new("s", AzureRules { groups_per_region: 2, ..rules() });
    let first = run(&mut groups, "a", body(), 0.0);
    put(&mut groups, "b", body(), 0.0).unwrap();
    groups.ended(first, 0, at(3.0));
    let refusal = put(&mut groups, "c", body(), 4.0).unwrap_err();
    assert_eq!((refusal.status, refusal.code), (409, "ContainerGroupQuotaReached"));
    assert!(
        refusal.message.ends_with("exceeded in region 'westeurope'. Limit: '2', Usage: '2' Requested: '1'."),
        "{refusal}"
    );
    let mut elsewhere = body();
    elsewhere["location"] = json!("northeurope");
    put(&mut groups, "elsewhere", elsewhere, 4.0).unwrap();
    groups.delete("g", "a", at(5.0)).unwrap();
    assert!(put(&mut groups, "c", body(), 5.5).is_err());
    put(&mut groups, "c", body(), 6.0).unwrap();
    let usages = groups.usages("WestEurope");
    assert_eq!((&usages["value"][0]["currentValue"], &usages["value"][0]["limit"]), (&json!(2), &json!(2)));
    assert_eq!(groups.peak(), 3);
}

#[test]
fn cores_are_limited_too_and_the_status_can_be_503() {
    let mut groups = Groups::new("s", AzureRules { cores_per_region: 1.5, quota_status: 503, ..rules() });
    put(&mut groups, "a", body(), 0.0).unwrap();
    let refusal = put(&mut groups, "b", body(), 0.0).unwrap_err();
    assert_eq!((refusal.status, refusal.code), (503, "ContainerGroupQuotaReached"));
    assert!(refusal.message.contains("quota 'StandardCores'"), "{refusal}");
    assert_eq!(groups.history().len(), 1);
}

#[test]
fn creations_and_deletions_are_counted_over_time() {
    let writes_within = vec![(2, Duration::from_secs(60))];
    let mut groups = Groups::new("s", AzureRules { writes_within, ..rules() });
    put(&mut groups, "a", body(), 0.0).unwrap();
    put(&mut groups, "b", body(), 10.0).unwrap();
    let refusal = put(&mut groups, "c", body(), 20.0).unwrap_err();
    assert_eq!((refusal.status, refusal.retry_after), (429, Some(40)));
    // An update creates nothing.
    put(&mut groups, "a", body(), 20.0).unwrap();
    put(&mut groups, "c", body(), 61.0).unwrap();
    for (name, now) in [("a", 70.0), ("b", 70.0)] {
        groups.delete("g", name, at(now)).unwrap();
    }
    assert_eq!(groups.delete("g", "c", at(75.0)).unwrap_err().retry_after, Some(55));
}

#[test]
fn each_principal_has_buckets_of_its_own_that_fill_up_again() {
    let bucket = Bucket { capacity: 2, per_second: 0.5 };
    let mut groups = Groups::new("s", AzureRules { reads: bucket, ..rules() });
    let mut take = |principal: &str, sort, now| groups.throttle(principal, sort, at(now));
    assert_eq!(take("a", Sort::Read, 0.0), Ok(1));
    assert_eq!(take("a", Sort::Read, 0.0), Ok(0));
    let refusal = take("a", Sort::Read, 0.0).unwrap_err();
    assert_eq!((refusal.status, refusal.retry_after), (429, Some(2)));
    assert_eq!(take("b", Sort::Read, 0.0), Ok(1));
    assert_eq!(take("a", Sort::Write, 0.0), Ok(199));
    assert_eq!(take("a", Sort::Read, 2.0), Ok(0));
    assert_eq!(take("a", Sort::Read, 60.0), Ok(1));
}
