//! The end of an agent's log, kept in ours before its group is deleted: Azure throws it away with the group.

use secrecy::SecretString;
use serde_json::Value;
use tracing::info;

use super::secrets::scrub;
use crate::{core::Run, text::steers};

/// As many lines are asked for, and kept.
pub(super) const LINES: usize = 200;

/// As many bytes of them.
const BYTES: usize = 16 * 1024;

/// Writes it to our log as one event.
pub(super) fn keep(run: &Run, answer: &Value, secrets: &[SecretString]) {
    let text = answer.get("content").and_then(Value::as_str).unwrap_or_default();
    let tail = tail(text, secrets);
    let (name, pool) = (run.name.as_str(), run.pool.as_str());
    if tail.is_empty() {
        info!(target: "agent_log", run = name, pool, "the agent has written nothing");
    } else {
        info!(target: "agent_log", run = name, pool, "the end of its log:\n{tail}");
    }
}

/// The last lines, each with a mark before it, so that none can be taken for one of ours.
fn tail(text: &str, secrets: &[SecretString]) -> String {
    // Before anything is cut: half a secret would not be found.
    let clean = scrub(text, secrets);
    let mut lines = Vec::new();
    let mut bytes = 0;
    for line in clean.lines().rev().take(LINES) {
        let line = plain(line);
        bytes += line.len() + 5;
        if bytes > BYTES {
            if lines.is_empty() {
                let cut = (0..=BYTES.min(line.len())).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
                lines.push(format!("  | {}…", &line[..cut]));
            }
            break;
        }
        lines.push(format!("  | {line}"));
    }
    lines.reverse();
    lines.join("\n")
}

/// Without what steers a terminal or reorders what is read.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    for c in line.trim_end().chars() {
        if steers(c) && c != '\t' { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_within_their_bounds() {
        let many: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        let kept = tail(&many, &[]);
        assert_eq!(kept.lines().count(), LINES);
        assert!(kept.starts_with("  | line 800\n") && kept.ends_with("  | line 999"));
        let long: String = (0..100).map(|number| format!("{number:04}{}\n", "x".repeat(1000))).collect();
        let kept = tail(&long, &[]);
        assert!(kept.len() <= BYTES && kept.len() > BYTES - 1100 && kept.contains("| 0099x"));
        assert!(tail(&"ä".repeat(100_000), &[]).len() <= BYTES + 16);
        assert_eq!(tail("", &[]), "");
    }

    #[test]
    fn nothing_in_it_steers_a_terminal_or_looks_like_a_line_of_ours() {
        let kept = tail("red \u{1b}[31m\r\n2026-01-01 ERROR forged\u{202e}\n\ttab", &[]);
        assert_eq!(kept, "  | red \\u{1b}[31m\n  | 2026-01-01 ERROR forged\\u{202e}\n  | \ttab");
    }

    #[test]
    fn tokens_are_taken_out() {
        assert_eq!(tail("using s3cr3t-token now", &["s3cr3t-token".into()]), "  | using *** now");
    }
}
