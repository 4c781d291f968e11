//! A text that is changed at lines and columns, for [`super::edit`].

use super::yaml::Place;

/// A text by lines and columns, both from 1.
pub(super) struct Lines<'a>(pub(super) &'a str);

impl<'a> Lines<'a> {
    fn offset(&self, place: Place) -> Option<usize> {
        let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
        let start = match line {
            0 => 0,
            line => self.0.match_indices('\n').nth(line - 1)?.0 + 1,
        };
        let rest = &self.0[start..];
        Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(index, _)| index))
    }

    /// From a place to the end of its line.
    pub(super) fn rest(&self, place: Place) -> Option<&'a str> {
        self.0.get(self.offset(place)?..)?.lines().next()
    }

    pub(super) fn replace(&self, from: Place, to: Place, by: &str) -> String {
        match (self.offset(from), self.offset(to)) {
            (Some(from), Some(to)) if from <= to => format!("{}{by}{}", &self.0[..from], &self.0[to..]),
            _ => self.0.to_owned(),
        }
    }

    pub(super) fn insert(&self, at: Place, text: &str) -> String {
        let offset = self.offset(at).unwrap_or(self.0.len());
        format!("{}{text}{}", &self.0[..offset], &self.0[offset..])
    }

    /// The places where a value that begins at `place` may end: which of them it is shows when the result is read.
    pub(super) fn scalar_ends(&self, place: Place) -> Vec<Place> {
        let Some(rest) = self.rest(place) else { return Vec::new() };
        let mut ends = vec![rest.trim_end().len()];
        ends.extend(rest.match_indices(" #").map(|(index, _)| rest[..index].trim_end().len()));
        ends.extend(rest.match_indices(['"', '\'', '}', ']']).map(|(index, _)| index + 1));
        ends.extend(rest.match_indices([',', '}', ']']).map(|(index, _)| rest[..index].trim_end().len()));
        ends.sort_unstable();
        ends.dedup();
        let column = |end: usize| place.column + rest[..end].chars().count() as u64;
        ends.into_iter().map(|end| Place { column: column(end), ..place }).collect()
    }

    /// The value of a key that has none.
    pub(super) fn after_colon(&self, key: Place, value: &str) -> Option<String> {
        let start = self.offset(key)?;
        let colon = start + self.rest(key)?.find(':')? + 1;
        Some(format!("{} {value}{}", &self.0[..colon], &self.0[colon..]))
    }

    /// A line after others, with the line ends that the text has.
    pub(super) fn insert_after(&self, line: u64, new: &str) -> String {
        let end = if self.0.contains("\r\n") { "\r\n" } else { "\n" };
        let mut lines: Vec<String> = self.0.split_inclusive('\n').map(str::to_owned).collect();
        if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
            last.push_str(end);
        }
        let at = usize::try_from(line).unwrap_or(usize::MAX).min(lines.len());
        lines.insert(at, new.replace('\n', end) + end);
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_inserted_leaves_the_ends_of_all_others() {
        assert_eq!(Lines("a: 1\r\nb: 2\r\n").insert_after(1, "x: 3"), "a: 1\r\nx: 3\r\nb: 2\r\n");
        assert_eq!(Lines("a: 1\nb: 2").insert_after(2, "x: 3"), "a: 1\nb: 2\nx: 3\n");
        assert_eq!(Lines("").insert_after(0, "x: 3"), "x: 3\n");
    }
}
