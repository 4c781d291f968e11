//! Text that others wrote (names of pipelines, demands, messages of servers), made fit to be shown: it may come from anyone.
//!
//! There is one rule for what may not stand in a log line, a table, an Event or a document, [`steers`], and one way to
//! show it all the same, [`harmless`].

use std::borrow::Cow;

/// Whether a character steers a terminal, ends a line, or changes the direction of what is read: control characters (C0
/// and C1), line and paragraph separators, and the marks, embeddings, overrides and isolates of the bidirectional
/// algorithm.
#[must_use]
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// The text on one line, with what steers escaped as Rust does it.
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if steers(character) {
            harmless.extend(character.escape_default());
        } else {
            harmless.push(character);
        }
    }
    Cow::Owned(harmless)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Everything that steers, and what it becomes.
    pub(crate) const STEERING: &[(&str, &str)] = &[
        ("\n", "\\n"),
        ("\r\n", "\\r\\n"),
        ("\t", "\\t"),
        ("\u{0}", "\\u{0}"),
        ("\u{7}", "\\u{7}"),
        ("\u{1b}[31m", "\\u{1b}[31m"),
        ("\u{7f}", "\\u{7f}"),
        ("\u{85}", "\\u{85}"),
        ("\u{9b}2J", "\\u{9b}2J"),
        ("\u{61c}", "\\u{61c}"),
        ("\u{200e}", "\\u{200e}"),
        ("\u{200f}", "\\u{200f}"),
        ("\u{2028}", "\\u{2028}"),
        ("\u{2029}", "\\u{2029}"),
        ("\u{202a}", "\\u{202a}"),
        ("\u{202b}", "\\u{202b}"),
        ("\u{202c}", "\\u{202c}"),
        ("\u{202d}", "\\u{202d}"),
        ("\u{202e}", "\\u{202e}"),
        ("\u{2066}", "\\u{2066}"),
        ("\u{2067}", "\\u{2067}"),
        ("\u{2068}", "\\u{2068}"),
        ("\u{2069}", "\\u{2069}"),
    ];

    #[test]
    fn what_steers_is_escaped_and_nothing_else_is() {
        for (text, shown) in STEERING {
            assert_eq!(harmless(&format!("a{text}b")), format!("a{shown}b"));
        }
        for text in ["", "Größe 日本 שלום", "a \\n \"b\" 'c'", "👩‍💻", "e\u{301}"] {
            assert_eq!(harmless(text), text);
        }
    }
}
