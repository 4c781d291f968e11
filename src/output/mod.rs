//! How things are shown: tables as kubectl prints them, ages, and other people's text made harmless.

mod age;
mod colour;
mod findings;
mod format;
mod table;
mod width;

pub use age::age;
pub use colour::{ColorChoice, Paint, choose_color, has_cursor};
pub use findings::{Level, finding};
pub use format::{Format, write_json, write_yaml};
pub use table::{aligned, table};
pub use width::{columns, side_by_side, wrap, wrap_from};

/// Text that others wrote (pipeline names, server messages), so that it can neither steer the terminal nor reorder what is
/// read: [`crate::text`].
#[must_use]
pub fn harmless(text: &str) -> String {
    crate::text::harmless(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(harmless("ci\u{1b}[31m\r\nred ü"), "ci\\u{1b}[31m\\r\\nred ü");
    }
}
