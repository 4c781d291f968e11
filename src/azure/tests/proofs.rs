//! What shows that it is us: a signed statement, or the cluster's token.

use std::path::Path;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{digest, signature};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

use super::*;

/// A key as PKCS#8 and PKCS#1 (PEM), a certificate of it, and its public key for ring.
fn certificate() -> (String, String, rcgen::Certificate, Vec<u8>) {
    let (pkcs8, pkcs1) = rsa_pem::new_key();
    let pair = rcgen::KeyPair::from_pem(&pkcs8).unwrap();
    let certificate = rcgen::CertificateParams::new(["ado.test".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let der = PrivatePkcs8KeyDer::from_pem_slice(pkcs8.as_bytes()).unwrap();
    let public = ring::rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    (pkcs8, pkcs1, certificate, public.public().as_ref().to_vec())
}

fn by_certificate(path: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("AZURE_TENANT_ID", "contoso.test".to_owned()),
        ("AZURE_CLIENT_ID", "app-1".to_owned()),
        ("AZURE_CLIENT_CERTIFICATE_PATH", path.display().to_string()),
    ]
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn a_certificate_signs_a_statement_that_its_public_key_confirms() {
    let (pkcs8, pkcs1, certificate, public) = certificate();
    let stranger = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap().cert.pem();
    let folder = tempfile::tempdir().unwrap();
    for content in [
        format!("{pkcs8}{}", certificate.pem()),
        format!("{}{pkcs1}", certificate.pem()),
        format!("{stranger}{}{pkcs8}{stranger}", certificate.pem()),
    ] {
        let path = folder.path().join("certificate.pem");
        std::fs::write(&path, content).unwrap();
        let server = StandIn::giving(3600).await;
        let token = server.credential(&borrowed(&by_certificate(&path))).token(SCOPE).await.unwrap();
        assert_eq!(token.link, "EnvironmentCredential (certificate)");

        let asked = &server.asked()[0];
        assert_eq!(asked.form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let assertion = &asked.form["client_assertion"];
        let (signed, signed_with) = assertion.rsplit_once('.').unwrap();
        let key = signature::UnparsedPublicKey::new(&signature::RSA_PSS_2048_8192_SHA256, &public);
        key.verify(signed.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(signed_with).unwrap()).unwrap();
        let part =
            |text: &str| -> Value { serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap() };
        let (header, claims) = signed.split_once('.').unwrap();
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, certificate.der()));
        assert_eq!(part(header), json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}));
        let claims = part(claims);
        assert_eq!(claims["aud"], format!("{}/contoso.test/oauth2/v2.0/token", server.url));
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("app-1"), &json!("app-1")));
        let now = jiff::Timestamp::now().as_second();
        assert!((now..=now + 600).contains(&claims["exp"].as_i64().unwrap()));
        assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_with_what_mends_it() {
    let (pkcs8, _, certificate, _) = certificate();
    let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked_too = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for (content, what, fix) in [
        (b"\x30\x82pfx".to_vec(), "is a PFX file", "openssl pkcs12 -in "),
        (locked.into(), "a private key with a password", "openssl pkey -in "),
        (locked_too.into(), "a private key with a password", "openssl pkey -in "),
        (certificate.pem().into_bytes(), "holds no private key", "PEM form"),
        (pkcs8.clone().into_bytes(), "holds no certificate of its private key", "PEM form"),
        (format!("{pkcs8}{}", other.cert.pem()).into_bytes(), "holds no certificate of its private key", "PEM form"),
        (format!("{}{}", other.signing_key.serialize_pem(), other.cert.pem()).into_bytes(), "not RSA", "openssl req"),
        (b"".to_vec(), "holds no private key", "PEM form"),
    ] {
        std::fs::write(&path, content).unwrap();
        let server = StandIn::giving(3600).await;
        let error = server.credential(&borrowed(&by_certificate(&path))).token(SCOPE).await.unwrap_err();
        let said = &error.said()[0].what;
        assert!(said.contains(what) && said.contains(&path.display().to_string()), "{said} / {what}");
        assert!(error.fix().contains(fix), "{} / {fix}", error.fix());
        assert_eq!(server.asked().len(), 0);
    }
}

#[tokio::test]
async fn the_cluster_s_token_is_read_anew_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("azure-identity-token");
    let server = StandIn::giving(3600).await;
    let path = file.display().to_string();
    let variables =
        [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "app-1"), ("AZURE_FEDERATED_TOKEN_FILE", path.as_str())];
    let credential = server.credential(&variables);
    for (scope, content) in
        [("a/.default", "eyJhbGciOiJSUzI1NiJ9.e30.first"), ("b/.default", "eyJhbGciOiJSUzI1NiJ9.e30.second\n")]
    {
        std::fs::write(&file, content).unwrap();
        assert_eq!(credential.token(scope).await.unwrap().link, "WorkloadIdentityCredential");
        assert_eq!(server.asked().last().unwrap().form["client_assertion"], content.trim());
    }
    server.now_answers(|asked| {
        let assertion = &asked.form["client_assertion"];
        (400, json!({"error_description": format!("AADSTS700213: No matching federated identity record found for {assertion}")}))
    });
    let error = credential.token("c/.default").await.unwrap_err();
    assert_eq!(error.said()[0].what, "AADSTS700213: No matching federated identity record found for ***");
    assert!(error.fix().contains("federated credential"));
    std::fs::remove_file(&file).unwrap();
    let error = credential.token("d/.default").await.unwrap_err();
    assert!(error.said()[0].what.contains(&path) && error.fix().contains("azure.workload.identity/use"), "{error}");
}
