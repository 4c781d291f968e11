//! What the person and the orchestrator's account may do, by the API server's access reviews.

use futures::future::join_all;

use super::{
    cluster::{ClusterTarget, check},
    objects,
    result::CheckResult,
};
use crate::{
    cluster::{ClusterError, Decision, ErrorKind, Right, may_account, may_i},
    core::Code,
};

fn listed(rights: &[&Right]) -> String {
    rights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn denied<'a>(rights: &'a [Right], asked: &[Result<Decision, ClusterError>]) -> Vec<&'a Right> {
    let is_denied = |answer: &Result<Decision, ClusterError>| matches!(answer, Ok(Decision::Denied));
    rights.iter().zip(asked).filter(|(_, answer)| is_denied(answer)).map(|(right, _)| right).collect()
}

pub(super) async fn my_rights(target: &ClusterTarget<'_>, results: &mut Vec<CheckResult>) {
    let mine = check("rights");
    let rights = objects::install_rights();
    let asked = join_all(rights.iter().map(|right| may_i(target.cluster, right, target.namespace))).await;
    if let Some(error) = asked.iter().find_map(|answer| answer.as_ref().err()) {
        results.push(mine.info("what you may do is unknown").evidence(&error.message));
        return;
    }
    let denied = denied(&rights, &asked);
    let namespace = target.namespace;
    if denied.is_empty() {
        results
            .push(mine.ok(format!("you may apply an install in \"{namespace}\"")).evidence("SelfSubjectAccessReview"));
    } else if target.installed {
        // Those who look after an install need not be able to make one.
        let missing = mine.info(format!("you may not apply an install or upgrade in \"{namespace}\""));
        results.push(missing.evidence(format!("denied: {}", listed(&denied))));
    } else {
        let missing = mine.fail(Code::Forbidden, format!("you may not apply an install in \"{namespace}\""));
        results.push(
            missing
                .evidence(format!("denied: {}", listed(&denied)))
                .fix("have the Role that `kubectl ado permissions install -o yaml` prints given to you, or be admin of the namespace"),
        );
    }
}

pub(super) async fn orchestrator_rights(target: &ClusterTarget<'_>, results: &mut Vec<CheckResult>) {
    let theirs = check("orchestrator-rights");
    if !target.is_settled() {
        results.push(theirs.skipped("what the orchestrator's account may do: it is not there yet"));
        return;
    }
    let rights = objects::orchestrator_rights();
    let namespace = target.agents_namespace;
    let asked =
        join_all(rights.iter().map(|right| may_account(target.cluster, &target.account, right, namespace))).await;
    let (asked, way) = match asked.iter().find_map(|answer| answer.as_ref().err()) {
        None => (asked, "SubjectAccessReview"),
        Some(_) => match target.flags.open_as(&target.account) {
            Ok(other) => {
                let asked = join_all(rights.iter().map(|right| may_i(&other, right, namespace))).await;
                (asked, "SelfSubjectAccessReview, impersonated")
            }
            Err(_) => (asked, "SubjectAccessReview"),
        },
    };
    if let Some(error) = asked.iter().find_map(|answer| answer.as_ref().err()) {
        let why = if error.kind == ErrorKind::Forbidden {
            "you may neither create subjectaccessreviews nor impersonate it"
        } else {
            error.message.as_str()
        };
        results.push(theirs.info("what the orchestrator's account may do is unknown").evidence(why));
        return;
    }
    let denied = denied(&rights, &asked);
    results.push(if denied.is_empty() {
        theirs.ok(format!("the orchestrator's account may do its work in \"{namespace}\"")).evidence(way)
    } else {
        theirs
            .fail(Code::OrchestratorForbidden, format!("the orchestrator's account lacks rights in \"{namespace}\""))
            .evidence(format!("denied: {}; {way}", listed(&denied)))
            .fix("kubectl ado upgrade")
    });
}
