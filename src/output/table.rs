//! Tables as kubectl prints them: upper-case heads, three spaces, no borders.

use tabled::{
    builder::Builder,
    settings::{Padding, Style},
};

/// A table of a head and rows, each line without trailing spaces and ended by a line feed.
#[must_use]
pub fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    aligned(std::iter::once(head.map(str::to_owned).to_vec()).chain(rows.into_iter().map(Vec::from)))
}

/// Lines whose columns are aligned, with no head of their own: for lists whose columns depend on flags.
#[must_use]
pub fn aligned(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut builder = Builder::default();
    for row in rows {
        builder.push_record(row);
    }
    let mut table = builder.build();
    table.with(Style::empty()).with(Padding::new(0, 3, 0, 0));
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_three_spaces_apart_and_lines_end_where_their_text_ends() {
        let rows = [["linux".into(), "3".into()], ["windows builds".into(), "10".into()]];
        assert_eq!(
            table(["POOL", "QUEUED"], rows),
            "POOL             QUEUED\nlinux            3\nwindows builds   10\n"
        );
    }
}
