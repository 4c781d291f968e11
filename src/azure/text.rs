//! Text from a server, made fit for one line of a terminal or a log: it may come from anyone.

/// The most characters of a server's message that are passed on.
const MAX_LENGTH: usize = 300;

/// One line of at most 300 characters, in which nothing steers a terminal or reorders what is read.
pub(crate) fn readable(text: &str) -> String {
    let text = text.trim();
    let mut line = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == MAX_LENGTH {
            line.push('…');
            break;
        }
        if steers(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Control characters, line separators, and marks that change the direction of writing.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
