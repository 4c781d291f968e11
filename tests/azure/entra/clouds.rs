//! Sovereign clouds reach their own hosts: a proxy sees where the process wants to go.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::World;

/// A proxy that writes down where it is asked to lead, and leads nowhere.
async fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && connection.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
                let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                seen.lock().unwrap().push(line);
                let _ = connection.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
            });
        }
    });
    (url, asked)
}

#[tokio::test]
async fn each_cloud_s_own_authority_is_asked_through_the_proxy() {
    for (environment, host) in [
        ("AzurePublicCloud", "login.microsoftonline.com"),
        ("AzureUSGovernment", "login.microsoftonline.us"),
        ("AzureChina", "login.chinacloudapi.cn"),
    ] {
        let world = World::new();
        world.sandbox.add_pool("Default").unwrap();
        let (proxy, asked) = proxy().await;
        let variables = [
            ("AZURE_AUTHORITY_HOST", String::new()),
            ("AZURE_CLIENT_ID", world.first()),
            ("AZURE_CLIENT_SECRET", world.azure.secret().to_owned()),
            ("AZ_ENVIRONMENT", environment.to_owned()),
            ("AGENT_POOLS", "Default".to_owned()),
            ("HTTPS_PROXY", proxy.clone()),
            ("HTTP_PROXY", proxy),
            ("RUN_ONCE", "1".to_owned()),
            ("PATH", std::env::var("PATH").unwrap()),
        ];
        let (status, log) = world.process(&["serve"], &variables).ended().await;
        assert!(!status.success(), "{log}");
        let asked = asked.lock().unwrap().clone();
        assert!(
            !asked.is_empty() && asked.iter().all(|line| *line == format!("CONNECT {host}:443 HTTP/1.1")),
            "{asked:?}"
        );
        assert!(log.contains(&format!("https://{host} does not answer")), "{log}");
        world.assert_tells_nothing(&log, "the log");
    }
}

#[tokio::test]
async fn the_metadata_service_is_never_asked_through_a_proxy() {
    use kubectl_ado::sandbox::azure::Application;

    let world = World::with([Application::new("machine", "system-app").as_system_assigned()]);
    world.sandbox.add_pool("Default").unwrap();
    let (proxy, asked) = proxy().await;
    let variables = [
        ("AGENT_POOLS", "Default".to_owned()),
        ("HTTP_PROXY", proxy.clone()),
        ("HTTPS_PROXY", proxy),
        ("PATH", std::env::var("PATH").unwrap()),
    ];
    let log = world.process(&["serve"], &variables).says("machine, by ManagedIdentityCredential").await;
    world.assert_tells_nothing(&log, "the log");
    assert_eq!(*asked.lock().unwrap(), [""; 0]);
}
