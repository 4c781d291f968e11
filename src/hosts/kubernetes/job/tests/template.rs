//! Whatever the template says stays, and what of it is ours does not.

use super::*;

#[test]
fn the_readme_s_job_with_limits_keeps_all_but_its_name_and_the_agent_s_variables() {
    let made = from(yaml(WITH_LIMITS)).make().unwrap();
    let env = ".spec.template.spec.containers[custom-job].env";
    assert_eq!(
        losses(&yaml(WITH_LIMITS), &made.job),
        [
            ".metadata.name".to_owned(),
            format!("{env}[AZP_URL].value"),
            format!("{env}[AZP_TOKEN].name"),
            format!("{env}[AZP_TOKEN].value"),
            format!("{env}[AZP_POOL].value"),
        ]
    );
    assert!(!made.job.to_string().contains("xxxqhug"), "the token is gone");
    assert_eq!(made.warnings.len(), 1);
    assert!(
        made.warnings[0].starts_with("the Job template job.yaml: AZP_TOKEN of container \"custom-job\" is plain text")
    );
    assert!(!made.warnings[0].contains("xxxqhug"));
}

#[test]
fn the_readme_s_job_with_a_volume_keeps_all_but_its_name() {
    let made = from(yaml(WITH_VOLUME)).make().unwrap();
    assert_eq!(losses(&yaml(WITH_VOLUME), &made.job), [".metadata.name"]);
    assert_eq!(pod(&made.job)["restartPolicy"], "Never");
    assert!(made.warnings.is_empty());
}

#[test]
fn fields_that_nobody_here_has_heard_of_survive() {
    let template = yaml(
        r#"
apiVersion: batch/v1
kind: Job
metadata: {labels: {team: a, version: 1.5}, annotations: {note: "yes"}, futureField: [1, {a: null}]}
spec:
  suspend: true
  ttlSecondsAfterFinished: 45
  backoffLimit: 3
  futurePolicy: {x: 1.25}
  template:
    metadata: {labels: {team: a}, annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: "true"}}
    spec:
      restartPolicy: OnFailure
      schedulingGroup: {name: g}
      terminationGracePeriodSeconds: 7
      initContainers:
      - {name: sidecar, image: s, restartPolicy: Always}
      containers:
      - {name: helper, image: h}
      - {name: agent, image: a, restartPolicyRules: [{action: Restart}], env: [{name: X, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}
"#,
    );
    let made = from(template.clone()).make().unwrap();
    assert_eq!(losses(&template, &made.job), Vec::<String>::new());
    assert!(made.warnings.is_empty(), "{:?}", made.warnings);
}
