//! Names, proxies and TLS.

use std::{
    io::Write,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{QUICK, Server, TOKEN, nothing, script};
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId, RestClient},
    config::TokenSource,
};

fn client(url: &str, ca_file: Option<&std::path::Path>) -> RestClient {
    RestClient::with_timing(url, TokenSource::Value(TOKEN.into()), ca_file, QUICK)
        .unwrap_or_else(|error| panic!("FAILED {error}; {}", error.fix()))
}

/// A port of loopback that nobody listens on.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn who_is_not_there_is_unreachable() {
    let error =
        client(&format!("http://127.0.0.1:{}/x", closed_port().await), None).agents(PoolId(1)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable(message) if message.starts_with("127.0.0.1: ") && message.contains("refused")),
        "{error:?}"
    );

    let error = client("http://tfs.invalid/x", None).agents(PoolId(1)).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(message) if message.contains("tfs.invalid")), "{error:?}");
    assert!(error.fix().unwrap().contains("ORG_URL"));
}

/// Set in the child that asks: the environment of the tests themselves is shared by all of them.
const CHILD_URL: &str = "KUBECTL_ADO_TEST_URL";

/// The child's part of the tests with proxies.
#[tokio::test]
async fn asks_as_a_child() {
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    let answer = match client(&url, None).job_requests(PoolId(1)).await {
        Ok(_) => "ANSWERED".to_owned(),
        Err(error) => format!("FAILED {error}"),
    };
    std::io::stderr().write_all(answer.as_bytes()).unwrap();
}

/// Asks from a process with these variables only.
async fn ask(url: &str, variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "--nocapture", "azure_devops::tests::network::asks_as_a_child"]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        child.env_remove(name).env_remove(name.to_uppercase());
    }
    child.env(CHILD_URL, url).envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_proxy_never_catches_loopback() {
    let server = Server::start([nothing()]).await;
    let dead = format!("http://127.0.0.1:{}", closed_port().await);
    let variables = [("HTTP_PROXY", dead.as_str()), ("HTTPS_PROXY", &dead), ("ALL_PROXY", &dead), ("NO_PROXY", "")];
    let said = ask(&server.url, &variables).await;
    assert!(said.contains("ANSWERED"), "{said}");
}

#[tokio::test]
async fn a_proxy_is_used_unless_the_host_is_exempt() {
    let proxy = Server::start([nothing()]).await;
    let proxy_url = proxy.url.trim_end_matches("/contoso");
    let said = ask("http://tfs.invalid/tfs/C", &[("HTTP_PROXY", proxy_url)]).await;
    assert!(said.contains("ANSWERED"), "{said}");
    assert_eq!(proxy.seen()[0].uri.host(), Some("tfs.invalid"));

    let said = ask("http://tfs.invalid/tfs/C", &[("HTTP_PROXY", proxy_url), ("NO_PROXY", "x.example,.invalid")]).await;
    assert!(said.contains("FAILED no answer from Azure DevOps") && said.contains("tfs.invalid"), "{said}");
    assert!(proxy.seen().is_empty());
}

#[tokio::test]
async fn plain_http_needs_no_certificate_authorities_but_https_does() {
    let server = Server::start([nothing()]).await;
    let none = [("SSL_CERT_FILE", "/no/such/bundle.pem"), ("SSL_CERT_DIR", "")];
    let said = ask(&server.url, &none).await;
    assert!(said.contains("ANSWERED"), "{said}");
    let said = ask("https://tfs.invalid/x", &none).await;
    assert!(said.contains("TLS cannot be set up") && said.contains("/no/such/bundle.pem"), "{said}");
    assert!(said.contains("ca-certificates"), "{said}");
}

/// An HTTPS server, as axum wants it.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    refused: Arc<AtomicUsize>,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (connection, address) = self.listener.accept().await.unwrap();
            match self.acceptor.accept(connection).await {
                Ok(stream) => return (stream, address),
                Err(_) => self.refused.fetch_add(1, Ordering::Relaxed),
            };
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_its_bundle_is_given() {
    let mut authority = rcgen::CertificateParams::new([]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/tfs/Collection", listener.local_addr().unwrap());
    let (router, seen) = script([nothing()]);
    let refused = Arc::new(AtomicUsize::new(0));
    let tls = Tls { listener, acceptor: TlsAcceptor::from(Arc::new(config)), refused: Arc::clone(&refused) };
    tokio::spawn(async { axum::serve(tls, router).await });

    let error = client(&url, None).job_requests(PoolId(1)).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(message) if message.contains("certificate")), "{error:?}");
    assert!(error.fix().unwrap().contains("ADO_CA_FILE"));
    assert!(seen.lock().unwrap().is_empty());

    let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap().cert.pem();
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    std::fs::write(&bundle, format!("{other}{authority_pem}")).unwrap();
    client(&url, Some(&bundle)).job_requests(PoolId(1)).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert_eq!(refused.load(Ordering::Relaxed), 1, "what is wrong with TLS is not tried again");
}

#[tokio::test]
async fn polls_of_sixty_pools_use_their_connections_again() {
    use axum::serve::ListenerExt as _;

    let (accepted, count) = (Arc::new(AtomicUsize::new(0)), |accepted: &AtomicUsize| accepted.load(Ordering::Relaxed));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/contoso", listener.local_addr().unwrap());
    let counted = Arc::clone(&accepted);
    let listener = listener.tap_io(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let (router, _) = script([nothing()]);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = client(&url, None);
    let round = || futures::future::join_all((1..=60).map(|pool| client.job_requests(PoolId(pool))));
    assert!(round().await.iter().all(Result::is_ok));
    let first = count(&accepted);
    for _ in 0..5 {
        assert!(round().await.iter().all(Result::is_ok));
    }
    // One may come too late to be used again at once.
    assert!(count(&accepted) <= first + 6, "{first} connections, then {} more", count(&accepted) - first);
}
