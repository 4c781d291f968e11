//! The node's docker socket.

use super::*;

#[test]
fn a_docker_socket_is_mounted_with_a_template_too() {
    for setup in [Setup::of(None), from(yaml(WITH_VOLUME))] {
        let job = setup.socket("/var/run/docker.sock").job();
        let source = json!({"path": "/var/run/docker.sock", "type": "Socket"});
        let volumes = pod(&job)["volumes"].as_array().unwrap();
        assert!(volumes.contains(&json!({"name": "kubectl-ado-docker-socket", "hostPath": source})));
        let agent = &pod(&job)["containers"][0];
        let mount = json!({"name": "kubectl-ado-docker-socket", "mountPath": "/var/run/docker.sock"});
        assert!(agent["volumeMounts"].as_array().unwrap().contains(&mount));
        assert_eq!(variable(agent, "DOCKER_HOST"), &Value::Null);
    }
}

#[test]
fn docker_is_told_of_a_socket_in_an_unusual_place() {
    let job = Setup::of(None).socket("/run/user/1000/docker.sock").job();
    assert_eq!(variable(&pod(&job)["containers"][0], "DOCKER_HOST"), "unix:///run/user/1000/docker.sock");
}

#[test]
fn a_socket_that_the_template_mounts_itself_is_not_mounted_twice() {
    let mounts = json!([{"name": "docker", "mountPath": "/var/run/docker.sock"}]);
    let job = container(&json!({"volumeMounts": mounts})).socket("/var/run/docker.sock").job();
    assert_eq!(pod(&job)["containers"][0]["volumeMounts"].as_array().unwrap().len(), 2, "theirs and the token's");
}
