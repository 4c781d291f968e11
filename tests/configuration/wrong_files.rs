//! Files that are wrong, and what their owner is told.

use crate::{Folder, assert_errors, errors_of, least_and};

const JOB: &str = "apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: [{name: agent}]}}}\n";

#[test]
fn each_mistake_in_a_file_is_answered_with_its_line_and_column() {
    let table: &[(&str, &[&[&str]])] = &[
        ("pools: [", &[&["ado.yaml:1:"]]),
        ("a: b\n  c: d\n", &[&["ado.yaml:2:"]]),
        ("- a\n", &[&["ado.yaml:1:1: the file is a list", "a mapping"]]),
        ("runOnce: false\n---\nrunOnce: true\n", &[&["ado.yaml:3:1: the file has a second document"]]),
        ("runOnce: false\nrunOnce: true\n", &[&["ado.yaml:2:1: runOnce stands there already at line 1"]]),
        ("runOnse: true\n", &[&["ado.yaml:1:1: unknown key `runOnse`", "fix: did you mean `runOnce`?"]]),
        ("run-once: true\n", &[&["unknown key `run-once`", "did you mean `runOnce`?"]]),
        ("JOB_NAMESPACE: a\n", &[&["unknown key `JOB_NAMESPACE`", "fix: write it as `namespace`"]]),
        ("jobImage: a\n", &[&["unknown key `jobImage`", "fix: write it as `image`"]]),
        (
            "limits:\n  maxAgent: 4\n",
            &[&["ado.yaml:2:3: unknown key `maxAgent` in limits", "did you mean `maxAgents`?"]],
        ),
        ("limits:\n  colour: red\n", &[&["ado.yaml:2:3: unknown key `colour`", "fix: the keys here are maxAgents"]]),
        ("organization: {token: abc}\n", &[&["ado.yaml:1:16: unknown key `token`", "does not belong in this file"]]),
        ("organization: {url: dev.azure.com/a}\n", &[&["ado.yaml:1:21: organization.url has no scheme"]]),
        (
            "organization: {authentication: managed-identity}\n",
            &[&["ado.yaml:1:32: organization.authentication", "pat or entra", "fix: use entra"]],
        ),
        ("organization: {authentication: magic}\n", &[&["organization.authentication is \"magic\"", "pat"]]),
        ("organization: {tokenFile: nowhere}\n", &[&["ado.yaml:1:27: organization.tokenFile names \"nowhere\""]]),
        ("organization: {caFile: nowhere}\n", &[&["ado.yaml:1:24: organization.caFile names"]]),
        ("organization: contoso\n", &[&["ado.yaml:1:15: organization is the text \"contoso\"", "mapping"]]),
        ("host: docker\n", &[&["ado.yaml:1:7: host is \"docker\""]]),
        ("namespace: 7\n", &[&["ado.yaml:1:12: namespace is 7; it has to be a text", "fix: put it in quotes"]]),
        ("namespace: A\n", &[&["ado.yaml:1:12: namespace is \"A\""]]),
        ("initializeNamespace: \"true\"\n", &[&["ado.yaml:1:22: initializeNamespace is the text \"true\""]]),
        ("runOnce: yes\n", &[&["ado.yaml:1:10: runOnce is the text \"yes\"; it has to be true or false"]]),
        ("polling: 10ms\n", &[&["ado.yaml:1:10: polling is \"10ms\"", "from 100ms to 1h", "adaptive"]]),
        ("dockerSocketPath: a\n", &[&["ado.yaml:1:19: dockerSocketPath"]]),
        ("listenAddress: nowhere\n", &[&["ado.yaml:1:16: listenAddress"]]),
        ("jobTemplate: nowhere.yaml\n", &[&["ado.yaml:1:14: jobTemplate: \"nowhere.yaml\" cannot be read"]]),
        (
            "limits: {maxAgents: \"60\"}\n",
            &[&["ado.yaml:1:21: limits.maxAgents is the text \"60\"", "leave the quotes out"]],
        ),
        ("limits: {maxAgents: -1}\n", &[&["ado.yaml:1:21: limits.maxAgents is -1", "from 1 to 10000"]]),
        ("limits: {maxAgents: 1.5}\n", &[&["limits.maxAgents is 1.5", "whole number"]]),
        ("limits: {maxAgents: 0}\n", &[&["limits.maxAgents is 0", "leave it out for no maximum"]]),
        ("limits: {respectParallelJobs: 1}\n", &[&["limits.respectParallelJobs is 1", "true or false"]]),
        (
            "defaults: {startTimeout: 5}\n",
            &[&["ado.yaml:1:26: defaults.startTimeout is 5, which has no unit", "write 5s"]],
        ),
        ("defaults: {keepFailed: 5 m}\n", &[&["defaults.keepFailed is \"5 m\"", "from 0s to 30d"]]),
        ("defaults: {idleTimeout: [1]}\n", &[&["defaults.idleTimeout is a list"]]),
        (
            "defaults: {registration: just-in-time}\nos: windows\nimage: i\n",
            &[&["defaults.registration is just-in-time", "Windows", "auto or token"]],
        ),
        (
            "host: local\nagentFolder: /tmp/agents\npools: [{name: A, templates: [{registration: init-container}]}]\n",
            &[&["registration is init-container", "only pods"]],
        ),
        (
            "defaults: {registration: never}\n",
            &[&["defaults.registration is \"never\"", "auto, just-in-time, init-container or token"]],
        ),
        (
            "defaults: {minAgents: 3, maxAgents: 2}\n",
            &[&["defaults.minAgents is 3, more than", "defaults.maxAgents (2)"]],
        ),
        ("pools: []\n", &[&["ado.yaml:1:8: pools is empty"]]),
        ("pools:\n", &[&["pools is empty; it has to be a list"]]),
        ("pools: [Linux]\n", &[&["ado.yaml:1:9: pools[0] is the text \"Linux\"", "a mapping"]]),
        ("pools: [{limits: {maxAgents: 1}}]\n", &[&["ado.yaml:1:9: pools[0] has no name"]]),
        ("pools: [{name: 2024}]\n", &[&["ado.yaml:1:16: pools[0].name is 2024", "put it in quotes"]]),
        ("pools: [{name: a}, {name: A}]\n", &[&["ado.yaml:1:20: pools[1] is the second pool named \"A\""]]),
        ("pools: [{name: \"a\\x07\"}]\n", &[&["pools[0].name", "control character"]]),
        ("pools: [{name: a, templates: []}]\n", &[&["pools[0].templates is empty"]]),
        (
            "pools:\n- name: a\n  templates:\n  - name: x\n  - name: x\n",
            &[&["ado.yaml:5:5: pools[0].templates[1] is the second template of its pool named x"]],
        ),
        ("pools: [{name: a, templates: [{os: linux}, {name: b}]}]\n", &[&["pools[0].templates[0] has no name"]]),
        (
            "pools: [{name: a, templates: [{name: GPU_1}]}]\n",
            &[&["templates[0].name is \"GPU_1\"", "for example gpu-1"]],
        ),
        ("pools: [{name: a, templates: [{os: plan9}]}]\n", &[&["ado.yaml:1:36: pools[0].templates[0].os"]]),
        (
            "pools: [{name: a, templates: [{capabilities: {gpu: true}}]}]\n",
            &[&["ado.yaml:1:52: pools[0].templates[0].capabilities.gpu is true; it has to be a text", "quotes"]],
        ),
        ("pools: [{name: a, templates: [{capabilities: {a b: c}}]}]\n", &[&["white space"]]),
        ("pools: [{name: a, templates: [{capabilities: {a: b, A: c}}]}]\n", &[&["case of letters does not count"]]),
        ("pools: [{name: a, templates: [{ignoreDemands: [a b]}]}]\n", &[&["ignoreDemands[0]", "white space"]]),
        (
            "pools: [{name: a, templates: [{minAgents: 3, maxAgents: 2}]}]\n",
            &[&["ado.yaml:1:43: pools[0].templates[0].minAgents is 3, more than ado.yaml:1:57", "(2)"]],
        ),
        (
            "pools: [{name: a, limits: {maxAgents: 2}, templates: [{idleAgents: 3}]}]\n",
            &[&["templates[0].idleAgents is 3, more than", "pools[0].limits.maxAgents (2)"]],
        ),
        (
            "pools: [{name: a, limits: {maxAgents: 3}, templates: [{name: x, minAgents: 2}, {name: y, minAgents: 2}]}]\n",
            &[&["pools[0]: its templates' minAgents are 4 together, more than", "pools[0].limits.maxAgents (3)"]],
        ),
        (
            "limits: {maxAgents: 3}\ndefaults: {minAgents: 2}\npools: [{name: a}, {name: b}]\n",
            &[&["are 4 together, more than ado.yaml:1:21: limits.maxAgents (3)"]],
        ),
        (
            &schedule("days: [mo], from: \"07:30\", to: \"18:00\", idleAgents: 4"),
            &[&["days[0] is \"mo\"", "did you mean mon?"]],
        ),
        (&schedule("days: [], from: \"07:30\", to: \"18:00\", idleAgents: 4"), &[&["schedules[0].days is empty"]]),
        (
            &schedule("from: \"25:00\", to: \"18:00\", idleAgents: 4"),
            &[&["ado.yaml:2:60: pools[0].templates[0].schedules[0].from is \"25:00\""]],
        ),
        (&schedule("from: 1080, to: \"18:00\", idleAgents: 4"), &[&["schedules[0].from is 1080", "put it in quotes"]]),
        (&schedule("to: \"18:00\", idleAgents: 4"), &[&["schedules[0] has no `from`", "from: \"07:30\""]]),
        (
            &schedule("from: \"07:30\", to: \"18:00\", timeZone: Berlin, idleAgents: 4"),
            &[&["timeZone is \"Berlin\"", "did you mean Europe/Berlin?"]],
        ),
        (&schedule("from: \"07:30\", to: \"18:00\""), &[&["schedules[0] changes nothing"]]),
        (
            &schedule("from: \"07:30\", to: \"18:00\", minAgents: 9, maxAgents: 8"),
            &[&["schedules[0].minAgents is 9, more than"]],
        ),
        (&schedule("from: \"07:30\", to: \"18:00\", idleAgents: x"), &[&["schedules[0].idleAgents is the text \"x\""]]),
        (
            "host: aci\ncontainerInstances: {subscriptionId: x, resourceGroup: a, region: b}\n",
            &[
                &["ado.yaml:2:38: containerInstances.subscriptionId is \"x\"", "GUID"],
                &["AZ_TENANT_ID is not set; ado.yaml:1:7: host aci needs it"],
            ],
        ),
        ("jobTemplate: job.yaml\njobtemplate: job.yaml\n", &[&["ado.yaml:2:1: unknown key `jobtemplate`"]]),
    ];
    for (text, expected) in table {
        let folder = Folder::with(&[("ado.yaml", text), ("job.yaml", JOB)]);
        let environment = if text.contains("pools:") { least_and(&[("AGENT_POOLS", "")]) } else { least_and(&[]) };
        let environment = if text.contains("tokenFile") { least_and(&[("ORG_PAT", "")]) } else { environment };
        assert_errors(&errors_of(&environment, &folder), expected);
    }
}

fn schedule(text: &str) -> String {
    format!("pools:\n- {{name: a, templates: [{{name: default, schedules: [{{{text}}}]}}]}}\n")
}

#[test]
fn all_mistakes_of_file_environment_and_job_template_are_said_at_once() {
    let text = "organization: {url: https://dev.azure.com}\nlimits: {maxAgent: 4}\njobTemplate: job.yaml\npools:\n- name: a\n  \
                limit: {}\n  templates:\n  - {name: A, minAgents: x}\n- {name: b, templates: [{jobTemplate: job.yaml}]}\n";
    let folder = Folder::with(&[("ado.yaml", text), ("job.yaml", "apiVersion: batch/v1\nkind: Job\nspec: {}\n")]);
    let answer = errors_of(&least_and(&[("RUN_ONCE", "x")]), &folder);
    let expected: &[&[&str]] = &[
        &["RUN_ONCE is \"x\""],
        &["ado.yaml:1:21: organization.url names no organization"],
        &["ado.yaml:2:10: unknown key `maxAgent` in limits"],
        &["ado.yaml:6:3: unknown key `limit` in pools[0]"],
        &["ado.yaml:8:12: pools[0].templates[0].name is \"A\""],
        &["ado.yaml:8:26: pools[0].templates[0].minAgents is the text \"x\""],
        &["pools[1].templates[0].jobTemplate: job.yaml:3:7: spec.template is missing"],
    ];
    assert_errors(&answer, expected);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = Folder::with(&[]);
    let error = kubectl_ado::config::Config::load(&least_and(&[]), Some(&folder.path("ado.yml"))).unwrap_err();
    assert_errors(&folder.strip(&error.to_string()), &[&["--config: ado.yml cannot be read: No such file"]]);
}
