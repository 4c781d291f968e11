//! The URL of an organization or collection, and the slips that people make with it.
//!
//! A URL may carry a token as its user info or in its query, so a wrong one is never shown as it was given.

use reqwest::Url;

use super::{error::Wrong, loopback::is_loopback, value::quoted};

const SERVICES: &str = "dev.azure.com";
const OLD_SERVICES: &str = ".visualstudio.com";

/// Validates the URL. It stays as it was written but for slashes at its end.
pub(super) fn organization_url(text: &str) -> Result<String, Wrong> {
    let text = text.trim().trim_end_matches('/');
    if text.contains(char::is_control) {
        return Err(Wrong::new("has a control character in it"));
    }
    if !text.contains("://") {
        return Err(without_scheme(text));
    }
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("is not a URL: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") {
        let what = format!("begins with {}://; it has to begin with https:// or http://", url.scheme());
        return Err(Wrong::new(what));
    }
    let host = url.host_str().unwrap_or_default().to_lowercase();
    if host.is_empty() {
        return Err(Wrong::new("has no host"));
    }
    let segments: Vec<&str> = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let better = root_of(&url, &host, &segments);
    let mend = |what: &str| match &better {
        Some(better) => Wrong::new(what).mend(format!("did you mean {better}?")),
        None => Wrong::new(what).mend("give the URL of the collection, such as https://tfs.example/DefaultCollection"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        let wrong = mend("has a user name or a token in it");
        let fix = wrong.fix.unwrap_or_default();
        return Err(Wrong::new(wrong.what).mend(format!("{fix} A token goes into ORG_PAT_FILE or ORG_PAT")));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(mend("has a ? or # in it"));
    }
    if segments.iter().any(|part| part.starts_with('_')) {
        return Err(mend("is a page inside a project; it has to be the organization's or collection's own URL"));
    }
    if host == SERVICES && segments.is_empty() {
        let fix = "add the organization's name: https://dev.azure.com/YOUR-ORGANIZATION";
        return Err(Wrong::new("names no organization").mend(fix));
    }
    let is_project = (host == SERVICES && segments.len() > 1)
        || (host.ends_with(OLD_SERVICES)
            && segments.iter().any(|part| !part.eq_ignore_ascii_case("DefaultCollection")));
    if is_project {
        return Err(mend("is a project's URL; agent pools belong to the organization"));
    }
    if url.scheme() == "http" && (host == SERVICES || host.ends_with(OLD_SERVICES)) {
        return Err(mend("begins with http://; Azure DevOps Services answers on https:// only"));
    }
    Ok(text.to_owned())
}

/// Whether the token would cross a network in clear.
pub(super) fn sends_token_in_clear(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url))
}

/// Whether a URL leads to Azure DevOps Services, or to something on this machine, which may stand in for them.
pub(super) fn is_services(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        let host = url.host_str().unwrap_or_default().to_lowercase();
        host == SERVICES || host.ends_with(OLD_SERVICES) || is_loopback(&url)
    })
}

/// The organization that a longer URL leads into, where that can be told.
fn root_of(url: &Url, host: &str, segments: &[&str]) -> Option<String> {
    if host == SERVICES {
        let organization = segments.first().copied().or(Some(url.username()).filter(|name| !name.is_empty()))?;
        return shown(format!("https://{SERVICES}/{organization}"));
    }
    if host.ends_with(OLD_SERVICES) {
        return shown(format!("https://{host}"));
    }
    let collection: Vec<&str> = segments.iter().copied().take_while(|part| !part.starts_with('_')).collect();
    if collection.len() < segments.len() || collection.is_empty() {
        return None; // The segment before `_git` may be a project.
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    shown(format!("{}://{host}{port}/{}", url.scheme(), collection.join("/")))
}

fn shown(text: String) -> Option<String> {
    quoted(&text).starts_with('"').then_some(text)
}

fn without_scheme(text: &str) -> Wrong {
    let wrong = Wrong::new("has no scheme; it has to begin with https://");
    let looks_like_host = text.contains('.') || text.starts_with("localhost");
    if looks_like_host && !text.contains(['@', '?', '#', ' ']) && quoted(text).starts_with('"') {
        return wrong.mend(format!("did you mean https://{text}?"));
    }
    wrong.mend("for example https://dev.azure.com/YOUR-ORGANIZATION")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_services_and_servers_stay_as_they_were_written() {
        for text in [
            "https://dev.azure.com/contoso",
            "https://Dev.Azure.com/Contoso",
            "https://contoso.visualstudio.com",
            "https://contoso.visualstudio.com/DefaultCollection",
            "https://tfs.example/tfs/DefaultCollection",
            "http://tfs.example:8080/tfs/My Collection",
            "http://127.0.0.1:4711/sandbox",
        ] {
            assert_eq!(organization_url(text).unwrap(), text);
            assert_eq!(organization_url(&format!("{text}//")).unwrap(), text);
        }
    }

    #[test]
    fn common_slips_are_answered_with_what_was_meant() {
        for (text, what, fix) in [
            ("dev.azure.com/contoso", "no scheme", "did you mean https://dev.azure.com/contoso?"),
            ("https://dev.azure.com", "no organization", "https://dev.azure.com/YOUR-ORGANIZATION"),
            ("https://dev.azure.com/contoso/web", "a project's URL", "did you mean https://dev.azure.com/contoso?"),
            (
                "https://dev.azure.com/contoso/web/_git/x",
                "inside a project",
                "did you mean https://dev.azure.com/contoso?",
            ),
            ("https://contoso@dev.azure.com/contoso/web/_git/x", "a user name", "https://dev.azure.com/contoso?"),
            (
                "https://contoso.visualstudio.com/web",
                "a project's URL",
                "did you mean https://contoso.visualstudio.com?",
            ),
            ("https://dev.azure.com/contoso?a=b", "a ? or #", "did you mean https://dev.azure.com/contoso?"),
            ("https://tfs.example/tfs/C/_settings", "inside a project", "https://tfs.example/DefaultCollection"),
            ("http://dev.azure.com/contoso", "https:// only", "did you mean https://dev.azure.com/contoso?"),
            ("contoso", "no scheme", "for example https://dev.azure.com/YOUR-ORGANIZATION"),
            ("tfs.example:8080/tfs", "no scheme", "did you mean https://tfs.example:8080/tfs?"),
        ] {
            let wrong = organization_url(text).unwrap_err();
            assert!(wrong.what.contains(what), "{text}: {wrong:?}");
            assert!(wrong.fix.as_ref().is_some_and(|it| it.contains(fix)), "{text}: {wrong:?}");
        }
        for text in ["https://", "ssh://git@ssh.dev.azure.com", "https://dev.azure.com:99999/x", "https://a\u{7}b"] {
            assert!(organization_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn plain_http_is_fine_on_this_machine_only() {
        assert!(sends_token_in_clear("http://tfs.example/tfs"));
        for url in ["http://localhost:1/a", "http://127.0.0.1/a", "http://[::1]:8/a", "https://tfs.example/tfs"] {
            assert!(!sends_token_in_clear(url), "{url}");
        }
    }
}
