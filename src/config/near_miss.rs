//! Finds what was probably meant by a name that nobody knows.

use super::environment::{Environment, VARIABLES};

/// Variables of others that look like ours: shells set them.
const FOREIGN: &[&str] = &["HOSTTYPE", "OSTYPE", "MACHTYPE"];

/// One warning for each variable that is not ours but nearly so. Unknown variables as such are no error: Kubernetes
/// alone puts dozens into every pod, `ADO_PORT=tcp://…` among them.
pub(super) fn warnings(environment: &Environment) -> Vec<String> {
    let warn = |name: &str| {
        let meant = variable_meant_by(name, environment)?;
        Some(format!("unknown variable {name}: did you mean {meant}?"))
    };
    environment.names().filter_map(warn).collect()
}

/// A variable that is set and was probably meant to be this one.
pub(super) fn set_instead_of<'a>(name: &str, environment: &'a Environment) -> Option<&'a str> {
    environment.names().find(|set| variable_meant_by(set, environment) == Some(name))
}

/// The candidate that is nearest to the word: the same letters with other case or separators, or few slips away.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = letters_of(word);
    let distance_to = |candidate: &str| {
        let wanted = letters_of(candidate);
        if letters == wanted { 0 } else { edit_distance(&letters, &wanted) }
    };
    let near = |(distance, candidate): &(usize, &str)| *distance <= slips_allowed(candidate);
    let (_, candidate) = candidates
        .into_iter()
        .map(|candidate| (distance_to(candidate), candidate))
        .filter(near)
        .min_by_key(|(distance, _)| *distance)?;
    Some(candidate)
}

fn variable_meant_by(name: &str, environment: &Environment) -> Option<&'static str> {
    let known = || VARIABLES.iter().map(|(known, _)| *known);
    if known().any(|known| known == name) || FOREIGN.contains(&name) || is_service_link(name, environment) {
        return None;
    }
    let meant = closest(name, known())?;
    environment.get(meant).is_none().then_some(meant)
}

/// Kubernetes describes every Service of the namespace to every pod in variables of these forms.
fn is_service_link(name: &str, environment: &Environment) -> bool {
    let value = environment.get(name).unwrap_or_default();
    let has_part = |part: &str| name.ends_with(part) || name.contains(&format!("{part}_"));
    value.starts_with("tcp://")
        || value.starts_with("udp://")
        || value.starts_with("sctp://")
        || ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|part| has_part(part))
}

/// In a short name, two slips make another word of it.
fn slips_allowed(candidate: &str) -> usize {
    match letters_of(candidate).len() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

fn letters_of(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Insertions, deletions, replacements, and neighbours that changed places, each counting one.
fn edit_distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings_for(variables: &[(&str, &str)]) -> Vec<String> {
        warnings(&variables.iter().copied().collect())
    }

    #[test]
    fn slips_in_our_names_are_found() {
        for (slip, meant) in [
            ("ORG_PATFILE", "ORG_PAT_FILE"),
            ("AGENT_POOL", "AGENT_POOLS"),
            ("ORGURL", "ORG_URL"),
            ("org_url", "ORG_URL"),
            ("JOB_NAMESPCE", "JOB_NAMESPACE"),
            ("JOB-IMAGE", "JOB_IMAGE"),
            ("MINIMUM_IDLE_AGENTS_COUNT", "MINIMUM_IDLE_AGENT_COUNT"),
            ("POLING_DELAY", "POLLING_DELAY"),
            ("RUN_OCNE", "RUN_ONCE"),
        ] {
            assert_eq!(warnings_for(&[(slip, "x")]), [format!("unknown variable {slip}: did you mean {meant}?")]);
        }
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let others = [
            ("ADO_PORT", "tcp://10.0.0.1:80"),
            ("ADO_SERVICE_HOST", "10.0.0.1"),
            ("ADO_SERVICE_PORT_HTTP", "80"),
            ("ADO_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("ORG_URL_PORT", "tcp://10.0.0.1:8080"),
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            ("HOSTTYPE", "x86_64"),
            ("HOSTNAME", "a"),
            ("JOB_NAME", "nightly"),
            ("JOB_ID", "17"),
            ("JOB_URL", "http://jenkins.example"),
            ("AZP_POOL", "Default"),
            ("AGENT_NAME", "a"),
            ("PATH", "/bin"),
            ("HOME", "/root"),
        ];
        assert_eq!(warnings_for(&others), [""; 0]);
    }

    #[test]
    fn a_near_miss_is_no_news_where_the_variable_meant_is_set() {
        assert_eq!(warnings_for(&[("AGENT_POOL", "a"), ("AGENT_POOLS", "a")]), [""; 0]);
    }
}
