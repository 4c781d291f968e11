//! One key for each number that may be shorter than its field. The primes were searched for; they belong to nobody.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Primes {
    p: String,
    q: String,
}

/// By the name of the field that is short by one byte, and alone.
fn short_keys() -> BTreeMap<String, AgentKey> {
    let primes: BTreeMap<String, Primes> = serde_json::from_str(include_str!("short_keys.json")).unwrap();
    primes.into_iter().map(|(field, Primes { p, q })| (field, AgentKey::of_primes(&bytes(&p), &bytes(&q)))).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn each_number_that_is_a_byte_short_is_written_at_its_full_length_and_another_library_accepts_the_key() {
    let keys = short_keys();
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["d", "dp", "dq", "inverseQ"]);
    for (short, key) in keys {
        check(&key);
        let file = key.file();
        for (name, _) in LENGTHS {
            let number = field(&file, name);
            assert_eq!(number[0] == 0, name == short, "{name} of the key with a short {short}");
            assert!(number[0] != 0 || number[1] != 0, "short by one byte");
        }
    }
}
