//! Keys as they come: of another library's making, with each number that can be short.

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

use super::*;

/// Keys that Python's `cryptography` has made, each with the number that begins with a zero, if one does. Primes and the
/// modulus never do: their first bit is set.
const KEYS: [(Option<&str>, &str); 5] = [
    (None, include_str!("../keys/full.json")),
    (Some("d"), include_str!("../keys/short_d.json")),
    (Some("dp"), include_str!("../keys/short_dp.json")),
    (Some("dq"), include_str!("../keys/short_dq.json")),
    (Some("inverseQ"), include_str!("../keys/short_inverse_q.json")),
];

const NUMBERS: [&str; 6] = ["d", "p", "q", "dp", "dq", "inverseQ"];

fn bytes(file: &str, name: &str) -> Vec<u8> {
    let file: Value = serde_json::from_str(file).unwrap();
    BASE64_STANDARD.decode(file[name].as_str().unwrap()).unwrap()
}

/// The file with another value under a name, or without it.
fn with(file: &str, name: &str, value: Option<Value>) -> String {
    let mut file: Value = serde_json::from_str(file).unwrap();
    match value {
        Some(value) => file[name] = value,
        None => drop(file.as_object_mut().unwrap().remove(name)),
    }
    file.to_string()
}

fn signs_and_opens(key: &AgentKey) {
    let public = RsaPublicKeyComponents { n: plain(&key.modulus), e: plain(&key.exponent) };
    public.verify(&RSA_PKCS1_2048_8192_SHA256, b"text", &key.sign("text").unwrap()).unwrap();
    let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
    let public = rsa::PublicKey::new(number(&key.modulus), number(&key.exponent)).unwrap();
    let sealed = public.oaep_encrypt_with_rng::<Sha1, _>(&mut SysRng, b"secret").unwrap();
    assert_eq!(key.decrypt(&sealed, false).unwrap(), b"secret");
    assert!(key.decrypt(&sealed, true).is_err());
    let sealed = public.oaep_encrypt_with_rng::<Sha256, _>(&mut SysRng, b"secret").unwrap();
    assert_eq!(key.decrypt(&sealed, true).unwrap(), b"secret");
}

#[test]
fn keys_with_short_numbers_are_read_sign_and_open() {
    for (short, file) in KEYS {
        for name in NUMBERS {
            assert_eq!(bytes(file, name)[0] == 0, short == Some(name), "{short:?} {name}");
        }
        signs_and_opens(&AgentKey::read(file).unwrap());
    }
}

#[test]
fn a_number_of_the_wrong_length_is_refused_and_named() {
    for (short, file) in KEYS {
        let Some(name) = short else { continue };
        // What an encoder writes that does not know better.
        let number = bytes(file, name);
        let naive = BASE64_STANDARD.encode(&number[1..]);
        let error = AgentKey::read(&with(file, name, Some(naive.into()))).unwrap_err().to_string();
        let expected = format!("{name} has {} bytes, and must have {}", number.len() - 1, number.len());
        assert!(error.contains("RSA parameters are not valid") && error.contains(&expected), "{error}");
    }
    let (_, file) = KEYS[0];
    for name in NUMBERS {
        let longer = BASE64_STANDARD.encode([&[0][..], &bytes(file, name)].concat());
        let error = AgentKey::read(&with(file, name, Some(longer.into()))).unwrap_err().to_string();
        assert!(error.contains(&format!("{name} has")), "{error}");
    }
}

#[test]
fn the_names_are_literal_and_all_numbers_have_to_be_there() {
    let (_, file) = KEYS[0];
    for name in NUMBERS.into_iter().chain(["modulus", "exponent"]) {
        let missing = with(file, name, None);
        assert!(matches!(AgentKey::read(&missing), Err(KeyError::Damaged(_))), "{name}");
        let value: Value = serde_json::from_str::<Value>(file).unwrap()[name].clone();
        let upper = with(&missing, &name.to_uppercase(), Some(value));
        assert!(AgentKey::read(&upper).is_err(), "{name} in upper case");
        let garbage = with(file, name, Some("§".into()));
        assert!(matches!(AgentKey::read(&garbage), Err(KeyError::Base64(of)) if of == name), "{name}");
    }
    for name in ["ContainerName", "UseCng"] {
        AgentKey::read(&with(file, name, None)).unwrap();
    }
}

#[test]
fn numbers_that_do_not_belong_together_are_no_key() {
    let (other, file) = (KEYS[1].1, KEYS[0].1);
    for name in ["p", "q", "inverseQ"] {
        let foreign = BASE64_STANDARD.encode(bytes(other, name));
        let error = AgentKey::read(&with(file, name, Some(foreign.into()))).unwrap_err();
        assert!(matches!(error, KeyError::Unusable(_)), "{name}: {error}");
    }
}

#[test]
fn a_key_of_its_own_making_is_read_again_and_never_shown() {
    let key = AgentKey::generate().unwrap();
    let file = key.write().unwrap();
    let names: Vec<String> = serde_json::from_str::<serde_json::Map<String, Value>>(&file)
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let expected = ["ContainerName", "UseCng", "d", "dp", "dq", "exponent", "inverseQ", "modulus", "p", "q"];
    assert_eq!(names, expected);
    let again = AgentKey::read(&file).unwrap();
    assert_eq!(again.write().unwrap(), file);
    signs_and_opens(&again);
    assert_eq!(format!("{key:?}"), "AgentKey(…)");
}
