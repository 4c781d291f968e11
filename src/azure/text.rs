//! Text from a server, made fit for one line of a terminal or a log: it may come from anyone.

use crate::text::harmless;

/// The most characters of a server's message that are passed on.
const MAX_LENGTH: usize = 300;

/// One line of at most 300 characters, in which nothing steers a terminal or reorders what is read.
pub(crate) fn readable(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => format!("{}…", harmless(&text[..end])),
        None => harmless(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(readable(" red \u{1b}[31m\r\n\u{202e}txt "), "red \\u{1b}[31m\\r\\n\\u{202e}txt");
        assert_eq!(readable("Größe 日本"), "Größe 日本");
    }

    #[test]
    fn a_long_message_is_cut() {
        assert_eq!(readable(&"ä".repeat(1000)).chars().count(), MAX_LENGTH + 1);
    }
}
