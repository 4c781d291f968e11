//! API versions: a server has a latest one, and what is not documented is only there as a preview.

use super::{call::Call, reply::Reply};

/// `None` lets the call pass; else it is the error.
pub(super) fn refuse(latest: (u32, u32), call: &Call, segments: &[String]) -> Option<Reply> {
    let asked = call.api_version()?;
    let (number, preview) = match asked.split_once('-') {
        Some((number, preview)) => (number, Some(preview)),
        None => (asked, None),
    };
    let Some(version) = parse(number) else {
        let message =
            format!("The version \"{asked}\" is not in the format [{{major}}.{{minor}}[-preview[.{{resource}}]]].");
        return Some(Reply::error(400, "VssInvalidApiResourceVersionException", &message));
    };
    if version > latest {
        let message = format!(
            "The requested REST API version of {number} is out of range for this server. \
             The latest REST API version this server supports is {}.{}.",
            latest.0, latest.1
        );
        return Some(Reply::error(400, "VssVersionOutOfRangeException", &message));
    }
    let newest = preview_only(segments)?;
    match preview {
        None => {
            let message = format!(
                "The requested version \"{asked}\" of the resource is under preview. The -preview flag must be supplied \
                 in the api-version for such requests. For example: \"{number}-preview\""
            );
            Some(Reply::error(400, "VssInvalidPreviewVersionException", &message))
        }
        Some(preview) => {
            let resource = preview.strip_prefix("preview").and_then(|rest| rest.strip_prefix('.'));
            match resource.map(str::parse::<u32>) {
                None => None,
                Some(Ok(resource)) if resource <= newest => None,
                Some(_) => {
                    let message = format!("The requested version \"{asked}\" of the resource does not exist.");
                    Some(Reply::error(400, "VssVersionNotSupportedException", &message))
                }
            }
        }
    }
}

fn parse(number: &str) -> Option<(u32, u32)> {
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The newest preview of a resource that exists as a preview alone.
fn preview_only(segments: &[String]) -> Option<u32> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["distributedtask", "pools", _, "jobrequests" | "sessions" | "messages", ..] => Some(1),
        ["connectiondata" | "resourceareas"] | ["featureflags", _] | ["customerintelligence", "events"] => Some(1),
        ["distributedtask", "packages" | "resourceusage", ..] => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Bytes;

    use super::*;

    fn answer(latest: (u32, u32), version: &str, path: &str) -> Option<String> {
        let uri = format!("/o/_apis/{path}?api-version={version}");
        let (head, ()) = hyper::Request::get(uri).body(()).unwrap().into_parts();
        let call = Call::new(&head, Bytes::new());
        let reply = refuse(latest, &call, &call.api_path("o").unwrap())?;
        assert_eq!(reply.status, 400);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        Some(body["typeKey"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_version_is_accepted_if_the_server_has_it() {
        let requests = "distributedtask/pools/1/jobrequests";
        for (latest, version, path, error) in [
            ((7, 2), "7.1", "distributedtask/pools", None),
            ((7, 2), "6.0-preview.1", requests, None),
            ((7, 2), "7.1-preview", requests, None),
            ((7, 2), "7.1", requests, Some("VssInvalidPreviewVersionException")),
            ((7, 2), "7.1-preview.2", requests, Some("VssVersionNotSupportedException")),
            ((7, 2), "7.2-preview.2", "distributedtask/resourceusage", None),
            ((7, 2), "8.0", "distributedtask/pools", Some("VssVersionOutOfRangeException")),
            ((7, 0), "7.1", "distributedtask/pools", Some("VssVersionOutOfRangeException")),
            ((7, 0), "6.0-preview.1", requests, None),
            ((7, 2), "newest", "distributedtask/pools", Some("VssInvalidApiResourceVersionException")),
        ] {
            assert_eq!(answer(latest, version, path).as_deref(), error, "{version} {path}");
        }
    }
}
