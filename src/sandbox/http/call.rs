//! One call, taken apart.

use hyper::{
    HeaderMap, Method,
    body::Bytes,
    header::{ACCEPT, CONTENT_TYPE, HOST},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::sandbox::{faults::is_list, state::Refusal};

#[derive(Debug)]
pub(in crate::sandbox) struct Call {
    pub(in crate::sandbox) method: Method,
    pub(in crate::sandbox) headers: HeaderMap,
    pub(in crate::sandbox) path: String,
    query: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    pub(in crate::sandbox) fn new(head: &Parts, body: Bytes) -> Self {
        Self {
            method: head.method.clone(),
            headers: head.headers.clone(),
            path: head.uri.path().to_owned(),
            query: parse_query(head.uri.query().unwrap_or_default()),
            body,
        }
    }

    /// The path's segments after `/{organization}/_apis`, in lower case: routes are matched regardless of case.
    /// `None` if it is another organization's or none. Plans of jobs are below a project: `/{organization}/{project}/_apis`.
    pub(super) fn api_path(&self, organization: &str) -> Option<Vec<String>> {
        let segments = self.path.split('/').filter(|segment| !segment.is_empty()).map(str::to_lowercase);
        let segments: Vec<String> = segments.collect();
        let (ours, rest) = segments.split_first()?;
        if !ours.eq_ignore_ascii_case(organization) {
            return None;
        }
        match rest {
            [api, rest @ ..] if api == "_apis" => Some(rest.to_vec()),
            [_, api, rest @ ..] if api == "_apis" && rest.starts_with(&["distributedtask".into(), "hubs".into()]) => {
                Some(rest.to_vec())
            }
            _ => None,
        }
    }

    /// Whether it asks for a list of pools, agents or job requests.
    pub(super) fn is_list(&self) -> bool {
        is_list(&format!("{} {}", self.method, self.path).to_lowercase())
    }

    /// What is counted: the method and the path after `_apis` with `{id}` for numbers and ids.
    pub(super) fn route(&self, organization: &str) -> String {
        let path = match self.api_path(organization) {
            Some(segments) => {
                let segments: Vec<&str> = segments.iter().map(|segment| generic(segment)).collect();
                segments.join("/")
            }
            None => self.path.clone(),
        };
        format!("{} {path}", self.method)
    }

    /// A query parameter, its name in any case.
    pub(in crate::sandbox) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A query parameter that is `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.query(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A query parameter that is a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.query(name).map(|value| number(value, name)).transpose()
    }

    /// A query parameter that is a list of numbers.
    pub(super) fn numbers(&self, name: &str) -> Result<Option<Vec<i64>>, Refusal> {
        let list = self.query(name).map(|list| list.split(',').map(|value| number(value, name)).collect());
        list.transpose()
    }

    /// The body, read as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Refusal::Invalid(format!("The body is not what was expected: {error}")))
    }

    /// How many bytes the body has.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    /// The body, whatever JSON it is.
    pub(in crate::sandbox) fn value(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
    }

    /// The body, read as a form; `None` if it does not say that it is one.
    pub(in crate::sandbox) fn form(&self) -> Option<Vec<(String, String)>> {
        let kind = self.header(CONTENT_TYPE.as_str())?.split(';').next()?.trim();
        let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        is_form.then(|| form_urlencoded::parse(&self.body).into_owned().collect())
    }

    /// The API version that is asked for, as a query parameter or in `Accept`.
    pub(super) fn api_version(&self) -> Option<&str> {
        let accepted = self.header(ACCEPT.as_str()).and_then(|accept| {
            let parameter =
                |part: &'_ str| part.trim().len() > 12 && part.trim()[..12].eq_ignore_ascii_case("api-version=");
            accept.split([';', ',']).find(|part| part.is_ascii() && parameter(part)).map(|part| &part.trim()[12..])
        });
        self.query("api-version").or(accepted)
    }

    pub(in crate::sandbox) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The server as this client reaches it; on a cluster's node that is not what it listens on.
    pub(in crate::sandbox) fn origin(&self) -> String {
        format!("http://{}", self.header(HOST.as_str()).unwrap_or("localhost"))
    }
}

/// A number in a path or a query.
pub(super) fn number(text: &str, name: &str) -> Result<i64, Refusal> {
    text.trim().parse().map_err(|_| Refusal::Invalid(format!("The value \"{text}\" of {name} is not a number.")))
}

fn generic(segment: &str) -> &str {
    let is_number = segment.bytes().all(|byte| byte.is_ascii_digit());
    let is_guid = segment.len() == 36 && segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_number || is_guid { "{id}" } else { segment }
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Undoes percent-encoding and `+` for a space. What is not encoded properly stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok()))
            .flatten();
        decoded.push(match (byte, escaped) {
            (_, Some(escaped)) => escaped,
            (b'+', _) => b' ',
            (byte, None) => byte,
        });
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(uri: &str) -> Call {
        let (head, ()) = hyper::Request::get(uri).body(()).unwrap().into_parts();
        Call::new(&head, Bytes::new())
    }

    #[test]
    fn a_query_is_decoded_and_its_names_have_no_case() {
        let call = call("/o/_apis/x?poolName=Linux%20Builds+%C3%BC%2&%24top=3&agentIds=1,2&flag=True");
        assert_eq!(call.query("poolname"), Some("Linux Builds ü%2"));
        assert_eq!(call.number("$top"), Ok(Some(3)));
        assert_eq!(call.numbers("agentids"), Ok(Some(vec![1, 2])));
        assert!(call.flag("flag"));
        assert!(call.number("flag").is_err());
    }

    #[test]
    fn a_route_has_no_ids_and_no_organization() {
        let path = "/O/_apis/DistributedTask/pools/12/sessions/0000000a-5e55-4000-8000-00000000000b";
        assert_eq!(call(path).route("o"), "GET distributedtask/pools/{id}/sessions/{id}");
        assert_eq!(call("/other/_apis/x").route("o"), "GET /other/_apis/x");
        let path = "/o/5a4d0000-0000-4000-8000-000000000002/_apis/distributedtask/hubs/build/plans/1/logs";
        assert_eq!(call(path).route("o"), "GET distributedtask/hubs/build/plans/{id}/logs");
        assert_eq!(call("/o/project/_apis/distributedtask/pools").api_path("o"), None);
    }

    #[test]
    fn the_version_comes_by_query_or_by_accept() {
        assert_eq!(call("/o/_apis/x?api-version=7.1-preview.1").api_version(), Some("7.1-preview.1"));
        let mut call = call("/o/_apis/x");
        assert_eq!(call.api_version(), None);
        call.headers.insert(ACCEPT, "application/json; api-version=6.0".parse().unwrap());
        assert_eq!(call.api_version(), Some("6.0"));
    }
}
