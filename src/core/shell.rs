//! Words of the commands that fix lines name, as a shell takes them: whatever a pool is called, a line that is pasted does
//! what it says.

/// A word that a shell (bash, zsh, dash but for control characters) takes as it stands, on one line.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:,@%+".contains(c) || c == '=';
    // zsh expands a word that begins with an equals sign.
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if !word.contains(char::is_control) {
        return format!("'{}'", word.replace('\'', "'\\''"));
    }
    let mut quoted = "$'".to_owned();
    for c in word.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\{:03o}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// The operand of a command, which may look like a flag.
#[must_use]
pub fn shell_operand(word: &str) -> String {
    let separator = if word.starts_with('-') { "-- " } else { "" };
    format!("{separator}{}", shell_word(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_and_all_others_are_quoted() {
        assert_eq!(shell_word("Linux-1.x"), "Linux-1.x");
        assert_eq!(shell_word("a=b"), "a=b");
        assert_eq!(shell_word("=b"), "'=b'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(shell_word("a\nb'\\"), "$'a\\nb\\'\\\\'");
        assert_eq!(shell_operand("-x"), "-- -x");
        assert_eq!(shell_operand("x y"), "'x y'");
    }
}
