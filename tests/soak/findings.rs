//! Which findings are true here, and which never are.

use std::time::Duration;

use serde_json::Value;

use crate::faults::{Faults, Kind};

/// So long a finding may speak of what is over.
const HOLDS: Duration = Duration::from_secs(90);

/// Those that are false whatever goes wrong with calls here: no agent fails, none is slow, there is always room, and the
/// place where agents run is well.
const NEVER_TRUE: [&str; 10] =
    ["ADO103", "ADO202", "ADO205", "ADO206", "ADO207", "ADO208", "ADO209", "ADO405", "ADO407", "ADO508"];

/// The codes and messages of all findings in a status.
pub(crate) fn of(status: &Value) -> Vec<(String, String)> {
    let pools = status["pools"].as_array().into_iter().flatten();
    let findings = std::iter::once(status).chain(pools).filter_map(|holder| holder["findings"].as_array()).flatten();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    findings.map(|finding| (text(finding, "code"), text(finding, "message"))).collect()
}

/// Whether a finding of this code can be true now.
pub(crate) fn is_true(code: &str, faults: &Faults, now: Duration) -> bool {
    use Kind::{Errors, Lists, ReadOnly, Requests, Slow, Throttled};
    let recently = |kinds: &[Kind]| faults.was_there(kinds, HOLDS, now);
    match code {
        _ if NEVER_TRUE.contains(&code) => false,
        // Until the first status is complete.
        _ if now < Duration::from_secs(30) => true,
        "ADO101" => false,
        "ADO102" | "ADO203" => recently(&[ReadOnly]),
        "ADO104" => recently(&[Errors, Slow]),
        "ADO105" => recently(&[Throttled]),
        "ADO106" => recently(&[Errors, Requests, Lists]),
        "ADO201" => recently(&[Requests, Lists]),
        "ADO204" => recently(&[Requests, Lists, ReadOnly, Errors, Slow]),
        // What this file does not know of speaks of something that was switched on.
        _ => recently(&[Errors, Lists, ReadOnly, Requests, Slow, Throttled]),
    }
}

#[test]
fn a_finding_is_true_only_after_what_it_speaks_of() {
    let faults = Faults::new(1);
    let later = Duration::from_secs(300);
    for code in ["ADO106", "ADO102", "ADO405", "ADO999"] {
        assert!(!is_true(code, &faults, later), "{code}");
    }
    let status = serde_json::json!({
        "findings": [{ "code": "ADO106", "message": "x" }],
        "pools": [{ "name": "a" }, { "findings": [{ "code": "ADO405", "message": "y" }] }],
    });
    assert_eq!(of(&status), [("ADO106".to_owned(), "x".to_owned()), ("ADO405".to_owned(), "y".to_owned())]);
}
