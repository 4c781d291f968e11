//! Findings as people read them: `Error ADO101 what` and, below it, the line that mends it.

use super::{Paint, harmless, wrap};

/// How a finding's word is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Left alone.
    Info,
    /// Yellow.
    Warning,
    /// Red.
    Error,
}

/// The lines of one finding, each ended by a line feed. `code` is the empty text where there is none.
#[must_use]
pub fn finding(
    level: Level,
    code: &str,
    message: &str,
    fix: Option<&str>,
    paint: Paint,
    columns: Option<usize>,
) -> String {
    let (word, painted) = match level {
        Level::Info => ("Info", paint.bold("Info")),
        Level::Warning => ("Warning", paint.yellow("Warning")),
        Level::Error => ("Error", paint.red("Error")),
    };
    let code = if code.is_empty() { String::new() } else { format!(" {code}") };
    let line = wrap(&format!("{word}{code} {}", harmless(message)), 2, columns);
    let mut lines = format!("{painted}{}\n", line.strip_prefix(word).unwrap_or(&line));
    if let Some(fix) = fix {
        lines.push_str(&wrap(&format!("  fix: {}", harmless(fix)), 7, columns));
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_and_how_to_mend_it() {
        let text = finding(Level::Error, "ADO101", "the token\nis old", Some("auth set"), Paint::PLAIN, None);
        assert_eq!(text, "Error ADO101 the token\\nis old\n  fix: auth set\n");
        let narrow = finding(Level::Warning, "", "one two three", None, Paint::PLAIN, Some(12));
        assert_eq!(narrow, "Warning one\n  two three\n");
    }
}
