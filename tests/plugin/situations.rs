//! Staged situations: `status` and `explain` tell the truth about each, with its code, its fix and the exit code.

use kubectl_ado::core::{Finding, PoolState, Report};
use serde_json::{Value, json};

use crate::stage::{Ran, Stage, ago, linux, report, waits};

/// What is staged, and what has to be said of it.
struct Situation {
    name: &'static str,
    stage: fn(&mut Report),
    subject: &'static str,
    code: &'static str,
    fix: &'static str,
    status: i32,
    explain: i32,
}

fn verdict(code: &str, message: &str, fix: &str) -> Value {
    json!({"reason": "Reason", "message": message, "code": code, "fix": fix, "run": "agent-job-abc-7"})
}

fn finding(code: &str, message: &str, fix: &str) -> Finding {
    let code: kubectl_ado::core::Code = code.parse().unwrap();
    Finding::new(code, message, Some(fix.to_owned()))
}

const AUTH: &str = "kubectl ado auth set --pat-file FILE";
const IMAGE: &str = "kubectl ado config set pools.linux.templates.default.image=IMAGE";

/// Those that the orchestrator's own report tells of.
const REPORTED: &[Situation] = &[
    Situation {
        name: "the token has expired",
        stage: |report| {
            report.findings.push(finding("ADO101", "Azure DevOps answers 401", AUTH));
            waits(report, &json!({"reason": "Starting", "message": "a new agent is started for it"}));
        },
        subject: "7",
        code: "ADO101",
        fix: AUTH,
        status: 3,
        explain: 3,
    },
    Situation {
        name: "the pool was renamed",
        stage: |report| {
            let pool = linux(report);
            pool.state = PoolState::Degraded;
            pool.findings.push(finding("ADO201", "there is no agent pool \"linux\"", "kubectl ado config set pools"));
        },
        subject: "linux",
        code: "ADO201",
        fix: "kubectl ado config set pools",
        status: 3,
        explain: 3,
    },
    Situation {
        name: "the image has a typo",
        stage: |report| waits(report, &verdict("ADO401", "the image cannot be pulled (agent-job-abc-7)", IMAGE)),
        subject: "7",
        code: "ADO401",
        fix: IMAGE,
        status: 3,
        explain: 3,
    },
    Situation {
        name: "a quota is used up",
        stage: |report| waits(report, &verdict("ADO305", "a quota is used up", "raise the ResourceQuota")),
        subject: "7",
        code: "ADO305",
        fix: "raise the ResourceQuota",
        status: 0,
        explain: 3,
    },
    Situation {
        name: "no template satisfies a demand",
        stage: |report| waits(report, &verdict("ADO205", "no agent template satisfies \"docker\"", "add docker")),
        subject: "https://dev.azure.com/contoso/web/_build/results?buildId=1007&view=results",
        code: "ADO205",
        fix: "add docker",
        status: 3,
        explain: 3,
    },
    Situation {
        name: "the template's maximum is reached",
        stage: |report| {
            waits(
                report,
                &verdict("ADO209", "at the maximum of 4 agents of the agent template", "templates.default.maxAgents=8"),
            );
        },
        subject: "7",
        code: "ADO209",
        fix: "templates.default.maxAgents=8",
        status: 0,
        explain: 3,
    },
    Situation {
        name: "the pool's maximum is reached",
        stage: |report| {
            waits(report, &verdict("ADO209", "at the maximum of 20 agents of the pool", "limits.maxAgents=40"));
        },
        subject: "linux",
        code: "ADO209",
        fix: "limits.maxAgents=40",
        status: 0,
        explain: 3,
    },
    Situation {
        name: "the installation's maximum is reached",
        stage: |report| {
            waits(
                report,
                &verdict("ADO209", "at the maximum of 60 agents of the installation", "set limits.maxAgents=120"),
            );
        },
        subject: "7",
        code: "ADO209",
        fix: "set limits.maxAgents=120",
        status: 0,
        explain: 3,
    },
    Situation {
        name: "the parallel jobs are used up",
        stage: |report| waits(report, &verdict("ADO207", "all 2 parallel jobs are in use", "buy more")),
        subject: "7",
        code: "ADO207",
        fix: "buy more",
        status: 0,
        explain: 3,
    },
    Situation {
        name: "the pool is paused",
        stage: |report| {
            waits(report, &json!({"reason": "Paused", "message": "it waits"}));
            let pool = linux(report);
            pool.state = PoolState::Paused;
            pool.paused = serde_json::from_value(json!({"reason": "release"})).unwrap();
            pool.findings.push(finding("ADO208", "paused: release", "kubectl ado resume linux"));
        },
        subject: "7",
        code: "ADO208",
        fix: "kubectl ado resume linux",
        status: 0,
        explain: 3,
    },
    Situation {
        name: "no node has room",
        stage: |report| waits(report, &verdict("ADO403", "0/3 nodes are available: 3 Insufficient cpu.", "add a node")),
        subject: "7",
        code: "ADO403",
        fix: "add a node",
        status: 0,
        explain: 3,
    },
    Situation {
        name: "a volume is missing",
        stage: |report| waits(report, &verdict("ADO404", "persistentvolumeclaim \"cache\" not found", "create cache")),
        subject: "7",
        code: "ADO404",
        fix: "create cache",
        status: 3,
        explain: 3,
    },
    Situation {
        name: "the Job template is refused",
        stage: |report| {
            waits(report, &json!({"reason": "Starting", "message": "starting agent", "run": "agent-job-abc-7"}));
            linux(report).findings.push(finding(
                "ADO402",
                "the API server refuses the Job",
                "kubectl ado template validate",
            ));
        },
        subject: "7",
        code: "ADO402",
        fix: "kubectl ado template validate",
        status: 3,
        explain: 3,
    },
    Situation {
        name: "agents fail one after the other",
        stage: |report| {
            waits(report, &verdict("ADO405", "3 agents failed (exit code 1)", "kubectl ado logs --pool linux"));
        },
        subject: "7",
        code: "ADO405",
        fix: "kubectl ado logs --pool linux",
        status: 3,
        explain: 3,
    },
    Situation {
        name: "Azure DevOps throttles, and has not been polled for a while",
        stage: |report| {
            waits(report, &json!({"reason": "Covered", "message": "an agent is free for it"}));
            let pool = linux(report);
            pool.last_polled_at = Some(ago(200));
            pool.findings.push(finding("ADO105", "429, Retry-After 120 s", "use another identity for other tools"));
        },
        subject: "7",
        code: "ADO105",
        fix: "use another identity for other tools",
        status: 0,
        explain: 3,
    },
    Situation {
        name: "a changed configuration is not accepted",
        stage: |report| {
            report.findings.push(finding("ADO505", "line 3: unknown key", "kubectl ado config validate -f ado.yaml"));
        },
        subject: "linux",
        code: "ADO505",
        fix: "kubectl ado config validate -f ado.yaml",
        status: 3,
        explain: 3,
    },
    Situation {
        name: "the plugin is older than the orchestrator",
        stage: |report| report.orchestrator.version = "9.9.9".to_owned(),
        subject: "linux",
        code: "ADO506",
        fix: "kubectl krew upgrade ado",
        status: 0,
        explain: 0,
    },
    Situation {
        name: "the status is old",
        stage: |report| report.reported_at = ago(300),
        subject: "linux",
        code: "ADO504",
        fix: "kubectl ado logs",
        status: 3,
        explain: 3,
    },
    Situation {
        name: "a job request that nobody knows",
        stage: |_| {},
        subject: "4711",
        code: "",
        fix: "",
        status: 0,
        explain: 1,
    },
    Situation { name: "all is well", stage: |_| {}, subject: "linux", code: "", fix: "", status: 0, explain: 0 },
];

#[track_caller]
fn tells(name: &str, what: &str, ran: &Ran, code: &str, fix: &str, exit: i32) {
    let said = format!("{}{}", ran.out, ran.err);
    assert_eq!(ran.code, Some(exit), "{what}: {name}\n{said}");
    assert!(said.contains(code), "{what}: {name}: no {code}\n{said}");
    assert!(
        said.lines().any(|line| line.trim_start().starts_with("fix: ") && line.contains(fix)) || fix.is_empty(),
        "{what}: {name}: no {fix}\n{said}"
    );
}

#[tokio::test]
async fn status_and_explain_tell_the_truth_about_what_the_orchestrator_reports() {
    let stage = Stage::new("situations").await;
    for situation in REPORTED {
        let mut staged = report();
        (situation.stage)(&mut staged);
        stage.play(&staged).await;
        let Situation { name, subject, code, fix, .. } = situation;
        tells(name, "status", &stage.run(&["status"]), code, fix, situation.status);
        let explained = stage.run(&["explain", subject]);
        tells(name, "explain", &explained, code, fix, situation.explain);
        // The answer is the same in every form.
        let json = stage.run(&["explain", subject, "-o", "json"]);
        assert_eq!(json.code, explained.code, "{name}");
        if situation.explain == 3 {
            assert_eq!(json.json()["code"], *code, "{name}");
        }
        let json = stage.run(&["status", "-o", "json"]).ends(situation.status).json();
        assert_eq!(json["healthy"], situation.status == 0, "{name}");
        if code.is_empty() {
            assert_eq!(json["findings"], json!([]), "{name}");
        }
    }
}

#[tokio::test]
async fn status_and_explain_tell_the_truth_about_what_the_cluster_shows() {
    let stage = Stage::new("cluster-situations").await;
    let both = |name: &str, code: &str, fix: &str, status: i32, explain: i32| {
        tells(name, "status", &stage.run(&["status"]), code, fix, status);
        tells(name, "explain", &stage.run(&["explain", "linux"]), code, fix, explain);
    };
    let logs = format!("kubectl ado logs -n {}", stage.namespace);

    stage.lease(120, Some("kubectl-ado-7c9-x2x_abcd1234")).await;
    both("the leader is gone", "ADO503", &logs, 3, 3);
    // This machine's clock may be ahead of theirs: `check` allows for as much as `status` does.
    let leads = |seconds: i64| {
        let check = stage.run(&["check"]).out;
        let leads = check.contains("an orchestrator leads");
        assert!(leads || check.contains("nobody leads"), "{seconds} s: {check}");
        leads
    };
    stage.lease(23, Some("kubectl-ado-7c9-x2x_abcd1234")).await;
    assert!(leads(23));
    stage.lease(120, Some("kubectl-ado-7c9-x2x_abcd1234")).await;
    assert!(!leads(120));
    stage.lease(3, None).await;
    both("nobody holds the Lease", "ADO503", &logs, 3, 3);

    stage.lease(3, Some("kubectl-ado-7c9-x2x_abcd1234")).await;
    stage.no_status().await;
    both("there is no status yet", "ADO507", &logs, 3, 3);
    stage.status("{\"kind\": \"Status\"}").await;
    both("the status is of another kind", "ADO507", "kubectl ado upgrade", 3, 3);
    stage.play(&report()).await;

    let rights = ["list deployments.apps", "list configmaps,pods"];
    let kubeconfig = stage.account("no-leases", &rights).await;
    let forbidden = Stage { kubeconfig, ..stage_of(&stage) };
    let fix = "have the right to list leases";
    let ran = forbidden.run(&["status"]);
    tells("Leases may not be listed", "status", &ran, "ADO302", "", 0);
    assert!(ran.out.contains("linux") && ran.out.contains("cannot list the Leases"), "{}", ran.out);
    tells("Leases may not be listed", "explain", &forbidden.run(&["explain", "linux"]), "ADO302", "", 0);
    let kubeconfig = stage.account("no-status", &["list deployments.apps,leases"]).await;
    let forbidden = Stage { kubeconfig, ..stage_of(&stage) };
    let ran = forbidden.run(&["status"]);
    tells("the status may not be read", "status", &ran, "ADO302", "", 3);
    assert!(ran.out.contains("1/1 ready"), "{}", ran.out);
    tells("the status may not be read", "explain", &forbidden.run(&["explain", "linux"]), "ADO302", "", 3);
    assert!(!ran.out.contains(fix) || ran.out.contains("fix: "), "{}", ran.out);
    let kubeconfig = stage.account("no-deployments", &["list configmaps,leases"]).await;
    let forbidden = Stage { kubeconfig, ..stage_of(&stage) };
    let ran = forbidden.run(&["status"]);
    tells("the Deployment may not be read", "status", &ran, "ADO302", "", 0);
    assert!(ran.out.contains("linux"), "{}", ran.out);

    let kubectl = |arguments: &[&str]| {
        stage.plane.kubectl(&[&["-n", stage.namespace.name()], arguments].concat()).unwrap();
    };
    kubectl(&["scale", "deployment", "kubectl-ado", "--replicas=0"]);
    stage.until_ready(0).await;
    both("it is scaled to nothing", "ADO502", "--replicas=1", 3, 3);
    // The controllers make a new pod, which no node takes.
    kubectl(&["scale", "deployment", "kubectl-ado", "--replicas=1"]);
    both("it is not ready", "ADO502", "describe", 3, 3);
}

#[tokio::test]
async fn where_nothing_is_installed_that_is_the_answer() {
    let stage = Stage::empty("not-installed").await;
    for command in [
        ["status"].as_slice(),
        &["explain", "linux"],
        &["pools"],
        &["jobs"],
        &["queue"],
        &["agents"],
        &["pause", "--all"],
    ] {
        let ran = stage.run(command).ends(1);
        assert!(ran.err.starts_with("error: ADO501 kubectl-ado is not installed"), "{command:?}: {}", ran.err);
        assert!(ran.err.contains("\nfix: kubectl ado install"), "{command:?}: {}", ran.err);
    }
    stage.run(&["version"]).ends(0);
}

fn stage_of(stage: &Stage) -> Stage {
    Stage {
        plane: stage.plane,
        namespace: stage.namespace.clone(),
        client: stage.client.clone(),
        kubeconfig: stage.kubeconfig.clone(),
    }
}
