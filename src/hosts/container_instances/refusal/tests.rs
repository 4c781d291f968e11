//! Each refusal of Azure has the line that helps against it, and not against another one.

use super::*;
use crate::config::AzureEnvironment;

fn aci() -> AciConfig {
    AciConfig {
        subscription_id: "sub".to_owned(),
        resource_group: "agents".to_owned(),
        tenant_id: "t".to_owned(),
        region: "westeurope".to_owned(),
        environment: AzureEnvironment::Public,
        cpu: 2.0,
        memory_gb: 4.0,
        subnet_id: None,
        identity: None,
        registry: None,
        resource_manager_url: None,
        max_lifetime: std::time::Duration::from_secs(3600),
    }
}

fn refused(status: u16, code: &str) -> HostError {
    let error = ArmError::Refused { status, code: code.to_owned(), message: "no".to_owned() };
    refusal(&error, "delete the container group \"a\"", &aci(), &[])
}

#[test]
fn a_refusal_that_does_not_pass_by_itself_has_the_fix_of_its_own_cause() {
    for (status, code, fix) in [
        (409, "ScopeLocked", "az lock list -g agents"),
        (409, "ReadOnlyDisabledSubscription", "enable the subscription sub again"),
        (401, "InvalidAuthenticationTokenTenant", "AZ_TENANT_ID"),
        (403, "LinkedAuthorizationFailed", "subnets/join/action"),
        (403, "AuthorizationFailed", "resourceGroups/agents"),
    ] {
        let HostError::Refused { fix: Some(said), .. } = refused(status, code) else { panic!("{code} is refused") };
        assert!(said.contains(fix) && !said.contains("  "), "{code}: {said}");
        let for_the_group = said.contains("on /subscriptions/sub/resourceGroups/agents");
        assert_eq!(for_the_group, code == "AuthorizationFailed", "{code}: {said}");
    }
    assert!(matches!(refused(409, "SomethingElse"), HostError::Unavailable(_)), "a conflict passes");
}
