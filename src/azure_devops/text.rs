//! Text as Azure DevOps and what stands before it send it.

pub(super) use crate::azure::readable;

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
