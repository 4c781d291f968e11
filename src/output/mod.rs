//! How things are shown: tables as kubectl prints them, ages, and other people's text made harmless.

mod age;
mod format;
mod table;

pub use age::age;
pub use format::{Format, write_json, write_yaml};
pub use table::table;

/// Text that others wrote (pipeline names, server messages) with its control characters escaped, so that it cannot
/// move the cursor or colour the terminal.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            harmless.extend(c.escape_default());
        } else {
            harmless.push(c);
        }
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(harmless("ci\u{1b}[31m\r\nred ü"), "ci\\u{1b}[31m\\r\\nred ü");
    }
}
