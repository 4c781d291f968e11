//! Lines that fit: how wide the terminal is, and text that is broken at its words.

use std::io::IsTerminal;

/// Narrower than this is not worth breaking lines for.
const NARROWEST: usize = 40;

/// How many columns standard output has: `COLUMNS`, else the terminal's. `None` where lines may be as long as they are.
#[must_use]
pub fn columns() -> Option<usize> {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse().ok());
    let terminal = || {
        let out = std::io::stdout();
        if !out.is_terminal() {
            return None;
        }
        dialoguer::console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
    };
    set.or_else(terminal).filter(|columns| *columns > 0).map(|columns| columns.max(NARROWEST))
}

/// Parts side by side, three spaces apart, in as many lines as it takes; each further line is indented.
#[must_use]
pub fn side_by_side(parts: &[String], indent: usize, columns: Option<usize>) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for (index, part) in parts.iter().filter(|part| !part.is_empty()).enumerate() {
        let width = part.chars().count();
        if index > 0 {
            if columns.is_some_and(|columns| length + 3 + width > columns) {
                lines.push('\n');
                lines.push_str(&" ".repeat(indent));
                length = indent;
            } else {
                lines.push_str("   ");
                length += 3;
            }
        }
        lines.push_str(part);
        length += width;
    }
    lines
}

/// A text whose lines are broken between words; all but the first are indented.
#[must_use]
pub fn wrap(text: &str, indent: usize, columns: Option<usize>) -> String {
    wrap_from(0, text, indent, columns)
}

/// [`wrap`] for a text that begins in this column.
#[must_use]
pub fn wrap_from(start: usize, text: &str, indent: usize, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    let mut lines = String::new();
    let mut length = start;
    for (index, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if index > 0 && length + 1 + width > columns {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            length = indent;
        } else if index > 0 {
            lines.push(' ');
            length += 1;
        }
        lines.push_str(word);
        length += width;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_where_the_terminal_is_narrow() {
        assert_eq!(wrap("one two three", 2, Some(7)), "one two\n  three");
        assert_eq!(wrap("one two three", 2, None), "one two three");
        assert_eq!(wrap("averylongword x", 2, Some(5)), "averylongword\n  x");
        assert_eq!(wrap("  fix: it", 7, Some(40)), "  fix: it");
        assert_eq!(wrap_from(6, "one two", 2, Some(10)), "one\n  two");
    }

    #[test]
    fn parts_stand_side_by_side_as_far_as_they_fit() {
        let parts = ["a".to_owned(), String::new(), "bb".to_owned(), "ccc".to_owned()];
        assert_eq!(side_by_side(&parts, 2, None), "a   bb   ccc");
        assert_eq!(side_by_side(&parts, 2, Some(8)), "a   bb\n  ccc");
    }
}
