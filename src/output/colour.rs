//! Colour, and only where somebody sees it: `--color`, else NO_COLOR, TERM and whether it goes to a terminal.

use std::{io::IsTerminal, sync::OnceLock};

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// Through a pipe too
    Always,
    /// Not at all
    Never,
}

static CHOICE: OnceLock<ColorChoice> = OnceLock::new();

/// Sets what `--color` says, once for the process.
pub fn choose_color(choice: ColorChoice) {
    let _ = CHOICE.set(choice);
}

/// Whether standard output is a terminal on which the cursor may be moved.
#[must_use]
pub fn has_cursor() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The way to colour a word, or to leave it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// No colour.
    pub const PLAIN: Self = Self { on: false };

    /// For standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let choice = CHOICE.get().copied().unwrap_or_default();
        Self { on: choice.allows(has_cursor(), no_color) }
    }

    /// Something is wrong.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// Somebody should look.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// All is well.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// The heading of a section.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

impl ColorChoice {
    fn allows(self, has_cursor: bool, no_color: bool) -> bool {
        match self {
            Self::Auto => has_cursor && !no_color,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_colour_unless_somebody_objects() {
        assert!(ColorChoice::Auto.allows(true, false));
        assert!(!ColorChoice::Auto.allows(true, true));
        assert!(!ColorChoice::Auto.allows(false, false));
        assert!(ColorChoice::Always.allows(false, true));
        assert!(!ColorChoice::Never.allows(true, false));
    }

    #[test]
    fn a_painted_word_ends_its_colour() {
        assert_eq!(Paint { on: true }.red("Error"), "\u{1b}[31mError\u{1b}[0m");
        assert_eq!(Paint::PLAIN.red("Error"), "Error");
    }
}
