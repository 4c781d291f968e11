//! The lines by which two texts differ, with their neighbours, as `diff -u` shows them without its heads.

/// Lines of context around a change.
const CONTEXT: usize = 2;

/// The lines that are gone (`-`), new (`+`), and beside them; empty where nothing changed.
pub(in crate::commands) fn diff(before: &str, after: &str) -> String {
    let (one, other): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let marked = marked(&one, &other);
    let changed: Vec<usize> =
        marked.iter().enumerate().filter(|(_, (mark, _))| *mark != ' ').map(|(index, _)| index).collect();
    let mut text = String::new();
    let mut last: Option<usize> = None;
    for (index, (mark, line)) in marked.iter().enumerate() {
        if !changed.iter().any(|change| change.abs_diff(index) <= CONTEXT) {
            continue;
        }
        if last.is_some_and(|last| last + 1 < index) {
            text.push_str("...\n");
        }
        text.push_str(format!("{mark} {line}").trim_end());
        text.push('\n');
        last = Some(index);
    }
    text
}

/// All lines of both texts, by the longest sequence that they have in common.
fn marked<'a>(one: &[&'a str], other: &[&'a str]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0usize; other.len() + 1]; one.len() + 1];
    for i in (0..one.len()).rev() {
        for j in (0..other.len()).rev() {
            common[i][j] =
                if one[i] == other[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < one.len() || j < other.len() {
        if i < one.len() && j < other.len() && one[i] == other[j] {
            lines.push((' ', one[i]));
            (i, j) = (i + 1, j + 1);
        } else if j >= other.len() || (i < one.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', one[i]));
            i += 1;
        } else {
            lines.push(('+', other[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_shown_with_its_neighbours() {
        assert_eq!(
            diff("a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nC\nd\ne\nf\ng\nh\ni\n"),
            "  a\n  b\n- c\n+ C\n  d\n  e\n...\n  g\n  h\n+ i\n"
        );
        assert_eq!(diff("a\n", "a\n"), "");
    }
}
