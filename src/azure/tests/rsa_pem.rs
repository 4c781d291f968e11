//! RSA keys as the files that people have: nothing in the tree writes them otherwise.

use base64::{Engine, prelude::BASE64_STANDARD};
use rsa::{
    PrivateKey,
    traits::{PrivateKeyParts as _, PublicKeyParts as _},
};

/// The algorithm RSA with no parameters, as PKCS#8 names it.
const RSA: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];

/// A new key of 2048 bits as PKCS#8 and as PKCS#1, both in PEM.
pub(crate) fn new_key() -> (String, String) {
    let key = PrivateKey::new(&mut getrandom::SysRng, 2048).unwrap();
    let [p, q] = key.primes() else { panic!("two primes") };
    let e = key.e_bytes().to_vec();
    let numbers = [
        vec![0],
        key.n().to_be_bytes().to_vec(),
        e,
        key.d().to_be_bytes().to_vec(),
        p.to_be_bytes().to_vec(),
        q.to_be_bytes().to_vec(),
        key.dp().unwrap().to_be_bytes().to_vec(),
        key.dq().unwrap().to_be_bytes().to_vec(),
        key.crt_coefficient().unwrap().to_be_bytes().to_vec(),
    ];
    let pkcs1 = tagged(0x30, &numbers.iter().flat_map(|number| integer(number)).collect::<Vec<u8>>());
    let pkcs8 = tagged(0x30, &[integer(&[0]), RSA.to_vec(), tagged(4, &pkcs1)].concat());
    (pem("PRIVATE KEY", &pkcs8), pem("RSA PRIVATE KEY", &pkcs1))
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let sign: &[u8] = if bytes[first] >= 0x80 { &[0] } else { &[] };
    tagged(2, &[sign, &bytes[first..]].concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length = match content.len() {
        0..128 => vec![length[1]],
        128..256 => vec![0x81, length[1]],
        _ => vec![0x82, length[0], length[1]],
    };
    [&[tag], &length[..], content].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
