//! A view that is drawn over itself, line by line, so that it does not flicker.

use std::io::{self, Write};

/// What stands on the terminal.
#[derive(Debug, Default)]
pub(super) struct Screen {
    is_cleared: bool,
}

impl Screen {
    /// Draws a text over what was drawn before.
    pub(super) fn draw(&mut self, out: &mut impl Write, text: &str) -> io::Result<()> {
        let mut drawn = String::new();
        if !self.is_cleared {
            drawn.push_str("\u{1b}[2J");
            self.is_cleared = true;
        }
        drawn.push_str("\u{1b}[H");
        for line in text.lines() {
            drawn.push_str(line);
            drawn.push_str("\u{1b}[K\n");
        }
        drawn.push_str("\u{1b}[J");
        out.write_all(drawn.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_is_cleared_once_and_then_drawn_over() {
        let (mut screen, mut out) = (Screen::default(), Vec::new());
        screen.draw(&mut out, "one\ntwo\n").unwrap();
        screen.draw(&mut out, "one\n").unwrap();
        let drawn = String::from_utf8(out).unwrap();
        assert_eq!(drawn, "\u{1b}[2J\u{1b}[Hone\u{1b}[K\ntwo\u{1b}[K\n\u{1b}[J\u{1b}[Hone\u{1b}[K\n\u{1b}[J");
    }
}
