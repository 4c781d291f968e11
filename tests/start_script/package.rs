//! The agent's software, where the image has none: what came with the files says where it is.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use sha2::{Digest, Sha256};

use crate::stage::{IDENTITY, PACKAGE, Stage, ended};

/// A package as Azure DevOps offers it.
fn package() -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for (path, script) in PACKAGE {
        let mut header = tar::Header::new_gnu();
        header.set_size(script.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        archive.append_data(&mut header, path, script.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers every request with these bytes, for as long as the tests run.
fn serve(body: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let lines = BufReader::new(&connection).lines();
            let _head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body));
        }
    });
    address
}

fn with_packages(lines: &str) -> (Stage, std::process::Command) {
    let stage = Stage::without_agent("done");
    stage.lay(&IDENTITY);
    stage.lay(&[("packages", lines)]);
    let mut script = stage.with_files();
    script.env("TARGETARCH", "amd64").env("no_proxy", "127.0.0.1");
    (stage, script)
}

/// The name of this machine's system with that processor.
fn platform() -> &'static str {
    if cfg!(target_env = "musl") { "linux-musl-x64" } else { "linux-x64" }
}

#[test]
fn the_line_of_this_platform_is_downloaded_checked_and_run() {
    let body = package();
    let hash = sha256(&body);
    let address = serve(body);
    let lines = format!(
        "osx-arm64 http://127.0.0.1:9/wrong {hash}\n\n{} http://{address}/agent.tar.gz {}",
        platform(),
        hash.to_uppercase()
    );
    let (stage, script) = with_packages(&lines);
    let end = ended(script);
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(stage.calls(), ["run.sh --once"]);
    assert_eq!(stage.read(".credentials_rsaparams"), IDENTITY[2].1);
}

#[test]
fn a_package_that_is_not_what_was_told_is_not_run() {
    let address = serve(package());
    let (stage, script) = with_packages(&format!("{} http://{address}/agent.tar.gz {}\n", platform(), "0".repeat(64)));
    let end = ended(script);
    assert_eq!((end.code, stage.calls()), (Some(1), Vec::new()));
    assert!(end.errors.contains("has the SHA-256"), "{end:?}");
    assert!(!stage.root().join(".credentials_rsaparams").exists(), "a key has no business there yet");
}

#[test]
fn a_hash_that_is_none_is_refused_before_anything_is_downloaded() {
    let hash = sha256(&package());
    for odd in ["0", "sha256", &hash[1..], &format!("{hash}0"), &format!("{}g", &hash[1..])] {
        let (stage, script) = with_packages(&format!("{} http://127.0.0.1:9/agent.tar.gz {odd}\n", platform()));
        let end = ended(script);
        assert_eq!((end.code, stage.calls()), (Some(1), Vec::new()), "{odd}: {end:?}");
        assert!(end.errors.contains("SHA-256") && end.errors.contains("is none; fix: "), "{end:?}");
    }
}

#[test]
fn a_package_without_a_hash_is_run_with_a_warning() {
    let address = serve(package());
    let (stage, script) = with_packages(&format!("{} http://{address}/agent.tar.gz\n", platform()));
    let end = ended(script);
    assert_eq!((end.code, stage.calls()), (Some(0), vec!["run.sh --once".to_owned()]), "{end:?}");
    assert!(format!("{end:?}").contains("warning: the package is not checked"), "{end:?}");
}

#[test]
fn what_is_asked_for_over_tls_is_never_redirected_out_of_it() {
    let script = include_str!("../../linux/start.sh");
    let function = script.split("\nfetch() {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let shown = |url: &str| {
        let text = format!("curl() {{ printf '%s ' \"$@\"; }}\nfetch() {{{function}\n}}\nfetch --location {url}");
        let output = std::process::Command::new("bash").args(["-c", &text]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(shown("https://a/b").contains("--proto-redir =https "), "{}", shown("https://a/b"));
    assert!(shown("HTTPS://a/b").contains("--proto-redir =https "));
    assert!(shown("http://a/b").contains("--proto-redir =http,https "));
}

#[test]
fn a_platform_without_a_line_is_an_error_that_says_which_ones_there_are() {
    for (lines, known) in [("osx-arm64 http://127.0.0.1:9/x 00\n", "but: osx-arm64"), ("", "but: none")] {
        let (stage, script) = with_packages(lines);
        let end = ended(script);
        assert_eq!((end.code, stage.calls()), (Some(1), Vec::new()));
        assert!(end.errors.contains(&format!("no package for the platform {} ({known})", platform())), "{end:?}");
        assert!(end.errors.contains("; fix: use an image that has the agent built in, or set TARGETARCH"), "{end:?}");
    }
}
