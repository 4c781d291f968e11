//! The bundle of private certificate authorities (`ADO_CA_FILE`).

use std::path::Path;

use reqwest::Certificate;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::SetupError;

/// All certificates of a PEM file.
///
/// # Errors
///
/// The file cannot be read, holds none, or one that is none. The error names the file and what is wrong: TLS would only
/// say much later that an issuer is unknown.
pub(super) fn authorities(file: &Path) -> Result<Vec<Certificate>, SetupError> {
    let name = file.display();
    let fix = "set ADO_CA_FILE to a file with the authorities' certificates in PEM form (-----BEGIN CERTIFICATE-----)";
    let broken = |what: String| SetupError::new(format!("the CA file {name} {what}"), fix);

    let bytes = std::fs::read(file).map_err(|error| broken(format!("cannot be read: {error}")))?;
    let mut certificates = Vec::new();
    // Only to see whether each one can be used.
    let mut store = RootCertStore::empty();
    for (index, section) in CertificateDer::pem_slice_iter(&bytes).enumerate() {
        let number = index + 1;
        let der = section.map_err(|error| broken(format!("is damaged at certificate {number}: {error}")))?;
        store
            .add(der.clone())
            .map_err(|error| broken(format!("has a certificate {number} that is unusable: {error}")))?;
        let certificate = Certificate::from_der(&der)
            .map_err(|error| broken(format!("has a certificate {number} that is unusable: {error}")))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        // DER begins with the tag of a sequence.
        return Err(if bytes.first() == Some(&0x30) {
            SetupError::new(
                format!("the CA file {name} is DER, not PEM"),
                &format!("convert it: openssl x509 -inform der -in {name} -out ca.pem"),
            )
        } else {
            broken("holds no certificate".to_owned())
        });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> String {
        rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap().cert.pem()
    }

    fn read(content: &[u8]) -> Result<usize, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.pem");
        std::fs::write(&file, content).unwrap();
        let result = authorities(&file).map(|certificates| certificates.len()).map_err(|error| error.to_string());
        if let Err(message) = &result {
            assert!(message.contains(&file.display().to_string()), "{message}");
        }
        result
    }

    #[test]
    fn a_bundle_may_hold_several_certificates_and_comments() {
        let bundle = format!("# corp root\n{}\n# corp issuing\n{}", pem(), pem());
        assert_eq!(read(bundle.as_bytes()), Ok(2));
    }

    #[test]
    fn a_bad_bundle_is_named_with_what_is_wrong() {
        let cut = pem().replace("-----END CERTIFICATE-----", "");
        let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let der = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap().cert.der().to_vec();
        for (content, wrong) in [
            (&b""[..], "holds no certificate"),
            (b"hello", "holds no certificate"),
            (cut.as_bytes(), "damaged at certificate 1"),
            (format!("{}{not_a_certificate}", pem()).as_bytes(), "certificate 2 that is unusable"),
            (&der, "is DER"),
        ] {
            let message = read(content).unwrap_err();
            assert!(message.contains(wrong), "{message} / {wrong}");
        }
    }

    #[test]
    fn a_missing_bundle_is_named() {
        let error = authorities(Path::new("/no/such/ca.pem")).unwrap_err();
        assert!(error.to_string().starts_with("the CA file /no/such/ca.pem cannot be read: "), "{error}");
        assert!(error.fix().contains("ADO_CA_FILE"));
    }
}
