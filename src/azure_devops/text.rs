//! Text from a server, made fit for one line of a terminal or a log: it may come from anyone.

/// The most characters of a server's message that are passed on.
const MAX_LENGTH: usize = 300;

/// One line of at most 300 characters, in which nothing steers a terminal or reorders what is read.
pub(super) fn readable(text: &str) -> String {
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

/// Undoes percent-encoding with `+` for a space, which the header `X-TFS-ServiceError` comes in. Text with a space
/// in it is taken as it is.
pub(super) fn decoded(text: &str) -> String {
    if text.contains(' ') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        rest = tail;
        match (escaped, first) {
            (Some((high, low)), _) => {
                bytes.push(high * 16 + low);
                rest = &tail[2..];
            }
            (None, b'+') => bytes.push(b' '),
            (None, other) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// What stands in an HTML page's title.
pub(super) fn title(page: &str) -> Option<&str> {
    let start = page.find("<title>")? + "<title>".len();
    let length = page[start..].find("</title>")?;
    Some(page[start..start + length].trim()).filter(|title| !title.is_empty())
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

    #[test]
    fn the_service_error_header_is_decoded() {
        assert_eq!(decoded("TF400813%3a+Not+authorized%2e"), "TF400813: Not authorized.");
        assert_eq!(decoded("Access Denied: 1 + 1 is 100%"), "Access Denied: 1 + 1 is 100%");
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%f%zz"), "%f%zz");
    }

    #[test]
    fn a_page_has_a_title_or_not() {
        assert_eq!(title("<html><title> Sign In </title>"), Some("Sign In"));
        assert_eq!(title("<html><title></title>"), None);
        assert_eq!(title("nothing"), None);
    }
}
