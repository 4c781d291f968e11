//! Environments that are wrong, and what their owner is told.

use crate::{Case, Folder, assert_errors, errors_of, least_and};
use kubectl_ado::config::{Config, Environment};

#[test]
fn each_wrong_variable_is_named_with_what_is_wrong_and_how_to_mend_it() {
    let table: &[Case<'_>] = &[
        (&[("ORG_URL", "")], &[&["ORG_URL is not set", "fix: set ORG_URL=https://dev.azure.com/"]]),
        (&[("ORG_URL", "dev.azure.com/contoso")], &[&["ORG_URL has no scheme", "https://dev.azure.com/contoso?"]]),
        (&[("ORG_URL", "https://dev.azure.com/")], &[&["ORG_URL names no organization"]]),
        (&[("ORG_URL", "https://dev.azure.com/a/web")], &[&["ORG_URL is a project's", "https://dev.azure.com/a?"]]),
        (&[("ORG_URL", "https://dev.azure.com/a/b/_git/c")], &[&["ORG_URL is a page inside a project"]]),
        (&[("ORG_URL", "ftp://tfs.example/a")], &[&["ORG_URL begins with ftp://"]]),
        (&[("ORG_URL", "https://dev.azure.com:x/a")], &[&["ORG_URL is not a URL: invalid port number"]]),
        (&[("ORG_URL", "https://me:pw@dev.azure.com/a")], &[&["ORG_URL has a user name or a token", "ORG_PAT_FILE"]]),
        (&[("ORG_PAT", "")], &[&["neither ORG_PAT_FILE nor ORG_PAT is set", "fix: set ORG_PAT_FILE"]]),
        (&[("ORG_PAT", "")], &[&["neither ORG_PAT_FILE nor ORG_PAT is set", "ORG_AUTHENTICATION=entra"]]),
        (&[("ORG_AUTHENTICATION", "ntlm")], &[&["ORG_AUTHENTICATION is \"ntlm\"", "pat or entra"]]),
        (&[("ORG_PAT", "two words")], &[&["ORG_PAT holds white space"]]),
        (&[("ORG_PAT", "https://dev.azure.com/a")], &[&["ORG_PAT holds a URL"]]),
        (
            &[("ORG_PAT", ""), ("ORGPAT", "1")],
            &[&["neither ORG_PAT_FILE nor", "fix: ORGPAT is set: rename it to ORG_PAT"]],
        ),
        (
            &[("ORG_PAT", ""), ("ORG_PAT_FILE", "/nowhere/t")],
            &[&["ORG_PAT_FILE names \"/nowhere/t\", which cannot be read"]],
        ),
        (&[("ORG_PAT", ""), ("ORG_PAT_FILE", "/dev/null")], &[&["ORG_PAT_FILE: the token file /dev/null is empty"]]),
        (&[("ORG_PAT_FILE", "/dev/null")], &[&["ORG_PAT and ORG_PAT_FILE are both set", "fix: unset ORG_PAT"]]),
        (&[("AGENT_POOLS", "")], &[&["AGENT_POOLS is not set", "AGENT_POOLS=Linux"]]),
        (&[("AGENT_POOLS", ""), ("AGENT_POOL", "a")], &[&["AGENT_POOLS is not set", "rename it to AGENT_POOLS"]]),
        (&[("AGENT_POOLS", " , ,")], &[&["AGENT_POOLS names no agent pool"]]),
        (&[("AGENT_POOLS", "a\u{7}b")], &[&["AGENT_POOLS has a name that is \"a\\u{7}b\"", "control character"]]),
        (&[("POLLING_DELAY", "fast")], &[&["POLLING_DELAY is \"fast\"", "milliseconds from 100 to 3600000"]]),
        (&[("POLLING_DELAY", "99")], &[&["POLLING_DELAY is \"99\"", "from 100"]]),
        (&[("POLLING_DELAY", "3600001")], &[&["POLLING_DELAY is", "to 3600000"]]),
        (&[("POLLING_DELAY", "-1")], &[&["POLLING_DELAY is \"-1\""]]),
        (&[("POLLING_DELAY", "1.5")], &[&["POLLING_DELAY is \"1.5\""]]),
        (&[("RUN_ONCE", "2")], &[&["RUN_ONCE is \"2\"", "true or false"]]),
        (&[("INITIALIZE_NAMESPACE", "maybe")], &[&["INITIALIZE_NAMESPACE is \"maybe\""]]),
        (&[("JOB_IMAGE", "an image")], &[&["JOB_IMAGE is \"an image\"", "white space"]]),
        (&[("JOB_IMAGE", "https://ghcr.io/a/b:1")], &[&["JOB_IMAGE is", "no scheme", "fix: write ghcr.io/a/b:1"]]),
        (&[("JOB_IMAGE", "ghcr.io/A/b")], &[&["JOB_IMAGE is", "lower-case"]]),
        (&[("JOB_NAMESPACE", "My_Agents")], &[&["JOB_NAMESPACE is \"My_Agents\"", "fix: for example my-agents"]]),
        (&[("JOB_PREFIX", "---")], &[&["JOB_PREFIX is \"---\"", "for example agent-job-"]]),
        (&[("JOB_DOCKER_SOCKET_PATH", "docker.sock")], &[&["JOB_DOCKER_SOCKET_PATH is", "/var/run/docker.sock"]]),
        (
            &[("JOB_DEFINITION_FILE", "/nowhere/job.yaml")],
            &[&["JOB_DEFINITION_FILE: \"/nowhere/job.yaml\" cannot be read"]],
        ),
        (&[("JOB_OS", "macos")], &[&["JOB_OS is \"macos\"", "linux or windows"]]),
        (&[("JOB_OS", "windows")], &[&["JOB_OS is windows, and no image is named", "fix: set JOB_IMAGE"]]),
        (&[("JOB_TOKEN_SECRET", "My Secret")], &[&["JOB_TOKEN_SECRET names the Secret \"My Secret\""]]),
        (&[("JOB_TOKEN_SECRET", "a:b/c")], &[&["JOB_TOKEN_SECRET names the key \"b/c\""]]),
        (&[("MINIMUM_AGENT_COUNT", "-1")], &[&["MINIMUM_AGENT_COUNT is -1", "from 0 to 10000"]]),
        (&[("MINIMUM_AGENT_COUNT", "many")], &[&["MINIMUM_AGENT_COUNT is \"many\""]]),
        (&[("MINIMUM_IDLE_AGENT_COUNT", "1.5")], &[&["MINIMUM_IDLE_AGENT_COUNT is \"1.5\""]]),
        (&[("MAXIMUM_AGENT_COUNT", "0")], &[&["MAXIMUM_AGENT_COUNT is 0", "fix: leave it out for no maximum"]]),
        (&[("MAXIMUM_AGENT_COUNT", "99999999999999999999")], &[&["MAXIMUM_AGENT_COUNT is 99999999999999999999"]]),
        (
            &[("MINIMUM_AGENT_COUNT", "5"), ("MAXIMUM_AGENT_COUNT", "4")],
            &[&["MINIMUM_AGENT_COUNT is 5, more than MAXIMUM_AGENT_COUNT (4)"]],
        ),
        (
            &[("MINIMUM_IDLE_AGENT_COUNT", "5"), ("MAXIMUM_AGENT_COUNT", "4")],
            &[&["MINIMUM_IDLE_AGENT_COUNT is 5, more than MAXIMUM_AGENT_COUNT (4)"]],
        ),
        (&[("INSTALLATION_ID", "-blue-")], &[&["INSTALLATION_ID is \"-blue-\""]]),
        (&[("LISTEN_ADDRESS", "8080")], &[&["LISTEN_ADDRESS is \"8080\"", "fix: write 0.0.0.0:8080"]]),
        (&[("ADO_CA_FILE", "/nowhere/ca.pem")], &[&["ADO_CA_FILE names \"/nowhere/ca.pem\", which cannot be read"]]),
        (&[("ADO_CA_FILE", "/dev/null")], &[&["ADO_CA_FILE names \"/dev/null\", which holds no certificate"]]),
        (&[("HOST_TYPE", "docker")], &[&["HOST_TYPE is \"docker\"", "kubernetes, aci or local"]]),
        (&[("HOST_TYPE", "local")], &[&["AGENT_FOLDER is not set", "fix: set AGENT_FOLDER"]]),
        (
            &[("HOST_TYPE", "aci")],
            &[
                &["AZ_SUBSCRIPTION_ID is not set; HOST_TYPE aci needs it", "az account show"],
                &["AZ_RESOURCE_GROUP is not set"],
                &["AZ_TENANT_ID is not set"],
                &["AZ_REGION is not set"],
            ],
        ),
        (
            &[
                ("AZ_SUBSCRIPTION_ID", "mine"),
                ("AZ_RESOURCE_GROUP", "a/b"),
                ("AZ_TENANT_ID", "01234567-89ab-cdef-0123-456789abcdeg"),
                ("AZ_REGION", "west-europe"),
                ("AZ_ENVIRONMENT", "AzureMoon"),
            ],
            &[
                &["AZ_SUBSCRIPTION_ID is \"mine\"", "GUID"],
                &["AZ_RESOURCE_GROUP is \"a/b\""],
                &["AZ_TENANT_ID is"],
                &["AZ_REGION is \"west-europe\""],
                &["AZ_ENVIRONMENT is \"AzureMoon\"", "AzureChinaCloud"],
            ],
        ),
    ];
    let folder = Folder::with(&[]);
    assert!(table.len() >= 40, "{}", table.len());
    for (variables, expected) in table {
        assert_errors(&errors_of(&least_and(variables), &folder), expected);
    }
}

#[test]
fn an_empty_environment_is_told_all_three_things_that_it_needs() {
    let answer = errors_of(&Environment::default(), &Folder::with(&[]));
    assert_errors(&answer, &[&["ORG_URL is not set"], &["neither ORG_PAT_FILE nor ORG_PAT"], &["AGENT_POOLS is not"]]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let environment = [
        ("ORG_URL", "dev.azure.com/contoso"),
        ("AGENT_POOLS", ","),
        ("POLLING_DELAY", "1"),
        ("RUN_ONCE", "often"),
        ("JOB_IMAGE", "A B"),
        ("JOB_NAMESPACE", "-"),
        ("JOB_DEFINITION_FILE", "/nowhere"),
        ("LISTEN_ADDRESS", "here"),
        ("HOST_TYPE", "local"),
    ];
    let expected: &[&[&str]] = &[
        &["ORG_URL"],
        &["neither ORG_PAT_FILE nor ORG_PAT"],
        &["AGENT_POOLS"],
        &["POLLING_DELAY"],
        &["RUN_ONCE"],
        &["JOB_IMAGE"],
        &["JOB_NAMESPACE"],
        &["JOB_DEFINITION_FILE"],
        &["LISTEN_ADDRESS"],
        &["AGENT_FOLDER"],
    ];
    assert_errors(&errors_of(&environment.into_iter().collect(), &Folder::with(&[])), expected);
}

#[test]
fn what_is_odd_but_works_is_a_warning() {
    for (variables, warning) in [
        (&[("AGENT_POOLS", "a,b,")][..], "AGENT_POOLS has a comma with no name beside it"),
        (&[("AGENT_POOLS", "a,A")], "AGENT_POOLS names \"A\" twice"),
        (&[("AGENT_POOL", "a"), ("AGENT_POOLS", "a")], ""),
        (&[("JOB_NAMESPCE", "a")], "unknown variable JOB_NAMESPCE: did you mean JOB_NAMESPACE?"),
        (&[("ORG_PATFILE", "a")], "unknown variable ORG_PATFILE: did you mean ORG_PAT_FILE?"),
        (&[("ADO_PORT", "tcp://10.0.0.1:80"), ("ORG_URLS_SERVICE_HOST", "10.0.0.1")], ""),
        (
            &[("ORG_URL", "http://tfs.example/tfs/C")],
            "ORG_URL begins with http://: the token crosses the network in clear",
        ),
        (&[("ORG_URL", "http://localhost:8080/tfs/C")], ""),
        (&[("JOB_PREFIX", "Agent_Job-")], "JOB_PREFIX cannot stand in names as it is; it becomes agent-job-"),
        (
            &[("SSL_CERT_FILE", "/nowhere")],
            "SSL_CERT_FILE is not used: \"/nowhere\" holds no certificate that can be read",
        ),
        (
            &[("AZ_RESOURCE_GROUP", "a"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")],
            "AZ_RESOURCE_GROUP is not used: there is a Kubernetes cluster, so agents run there; \
             set HOST_TYPE=aci to run them as Azure container groups",
        ),
    ] {
        let config = Config::load(&least_and(variables), None).unwrap();
        assert_eq!(config.warnings.join("\n"), warning, "{variables:?}");
    }
}
