//! Lines that mend something, for whoever has no cluster: the plugin's own verbs change nothing there.

use crate::core::Report;

/// What a command of the plugin for clusters is where there is none.
const INSTEAD: &[(&str, &str)] = &[
    ("kubectl ado config set ", "set in ado.yaml or the environment: "),
    ("kubectl ado logs ", "its last words are in the orchestrator's log; "),
    ("kubectl ado auth set", "put the new token into the file that ORG_PAT_FILE names"),
];

/// Gives all mending lines of a report the form for hosts that are no cluster.
pub(super) fn reword(report: &mut Report) {
    let findings = report.findings.iter_mut().chain(report.pools.iter_mut().flat_map(|pool| &mut pool.findings));
    let of_findings: Vec<&mut String> = findings.filter_map(|finding| finding.fix.as_mut()).collect();
    of_findings.into_iter().for_each(reword_line);
    let requests = report.pools.iter_mut().flat_map(|pool| &mut pool.requests);
    requests.filter_map(|request| request.verdict.as_mut()?.fix.as_mut()).for_each(reword_line);
}

fn reword_line(line: &mut String) {
    for (command, instead) in INSTEAD {
        let Some(at) = line.find(command) else { continue };
        let rest = &line[at + command.len()..];
        // Of a log, what would have been the flags says nothing.
        let rest = if command.contains("logs") { rest.split_once("; ").map_or("", |(_, rest)| rest) } else { rest };
        let reworded = format!("{}{instead}{rest}", &line[..at]);
        *line = reworded.trim_end_matches("; ").to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_cluster_has_is_said_in_other_words() {
        let reworded = |line: &str| {
            let mut line = line.to_owned();
            reword_line(&mut line);
            line
        };
        assert_eq!(
            reworded("kubectl ado config set limits.maxAgents=8"),
            "set in ado.yaml or the environment: limits.maxAgents=8"
        );
        assert_eq!(
            reworded("kubectl ado logs --pool 'A' shows its last words; slow images need more"),
            "its last words are in the orchestrator's log; slow images need more"
        );
        assert_eq!(reworded("kubectl ado logs --pool A"), "its last words are in the orchestrator's log");
        assert_eq!(reworded("buy more"), "buy more");
    }
}
