//! What an answer means. Azure DevOps answers a bad token in half a dozen ways, several of which look like success;
//! none of them may ever be taken for an empty queue.

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, LOCATION},
};
use serde::Deserialize;

use super::{
    Error,
    credential::Credential,
    text::{decoded, readable, title},
};

/// Where Azure DevOps says why it refused, sometimes more exactly than in the body.
const SERVICE_ERROR: &str = "x-tfs-serviceerror";

/// Why a call failed, and what the caller may do about it.
#[derive(Debug)]
pub(super) enum Failure {
    /// It will fail the same way again.
    Final(Error),
    /// It may go well the next time.
    Transient(Error),
    /// The server does not speak this `api-version`.
    Version(Error),
    /// The server does not take these parameters.
    BadRequest(Error),
    /// The very thing that was asked for by its number is not there.
    Gone(Error),
}

impl Failure {
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Final(error)
            | Failure::Transient(error)
            | Failure::Version(error)
            | Failure::BadRequest(error)
            | Failure::Gone(error) => error,
        }
    }
}

/// An answer, whatever it is, except for 429.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    /// Its body, or enough of it to tell a page from JSON.
    pub(super) body: &'a [u8],
    /// What was asked, for messages.
    pub(super) path: &'a str,
    /// What must not stand in a message.
    pub(super) credential: &'a Credential,
}

/// An exception of Azure DevOps as JSON.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Problem {
    message: Option<String>,
    type_key: Option<String>,
}

impl Answer<'_> {
    /// Whether it is a good answer. What it says is not looked at.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let status = self.status.as_u16();
        let sign_in = |how: String| Err(Failure::Final(Error::Unauthorized(self.safe(&how))));
        if status == 203 {
            return sign_in("it sent a sign-in page, 203".to_owned());
        }
        if self.status.is_redirection() {
            let target = self.header(LOCATION.as_str()).unwrap_or_default();
            // Its query holds nothing for a reader and may hold secrets.
            let target = target.split(['?', '#']).next().unwrap_or_default();
            return sign_in(format!("it redirected to a sign-in page, {status}: {target}"));
        }
        if self.status.is_success() {
            return if self.is_html() { sign_in("it sent a sign-in page, HTML".to_owned()) } else { Ok(()) };
        }
        Err(self.refusal())
    }

    /// A status of 400 and above. The kind of exception says more than the status, which differs between hosts.
    fn refusal(&self) -> Failure {
        let status = self.status.as_u16();
        let problem: Problem = serde_json::from_slice(self.body).unwrap_or_default();
        let kind = problem.type_key.as_deref().unwrap_or_default();
        let message = self.message(&problem);
        let failed = |message| Error::Unavailable { status, message };

        match kind {
            "VssVersionOutOfRangeException"
            | "VssInvalidPreviewVersionException"
            | "VssVersionNotSpecifiedException" => {
                return Failure::Version(failed(message));
            }
            "UnauthorizedRequestException" | "TaskAgentAccessTokenExpiredException" => {
                return Failure::Final(Error::Unauthorized(message));
            }
            "AccessDeniedException" => return Failure::Final(Error::Forbidden(message)),
            "TaskAgentJobStillRunningException" => return Failure::Final(Error::Busy(message)),
            "TaskAgentExistsException" => return Failure::Final(Error::Taken(message)),
            "TaskAgentNotFoundException" => return Failure::Gone(Error::Gone(message)),
            // TaskAgentPoolNotFoundException, TaskAgentJobNotFoundException …
            kind if kind.ends_with("NotFoundException") => return Failure::Final(Error::NotFound(message)),
            _ => {}
        }
        match status {
            400 => Failure::BadRequest(failed(message)),
            401 => Failure::Final(Error::Unauthorized(message)),
            403 => Failure::Final(Error::Forbidden(message)),
            // A wrong address is answered with a page, or with another exception.
            404 if kind.is_empty() && !self.is_html() => Failure::Gone(Error::NotFound(message)),
            404 => Failure::Final(Error::NotFound(message)),
            407 => Failure::Final(Error::Unreachable(format!("the proxy wants a user name and password: {message}"))),
            500 | 502 | 503 | 504 => Failure::Transient(failed(message)),
            _ => Failure::Final(failed(message)),
        }
    }

    /// The best there is: its header, its message, a page's title, or what was asked.
    fn message(&self, problem: &Problem) -> String {
        let status = self.status;
        if let Some(text) = self.header(SERVICE_ERROR).map(decoded).filter(|text| !text.trim().is_empty()) {
            return self.safe(&text);
        }
        if let Some(text) = problem.message.as_deref().filter(|text| !text.trim().is_empty()) {
            return self.safe(text);
        }
        let body = String::from_utf8_lossy(self.body);
        match title(&body).filter(|_| self.is_html()) {
            Some(title) => self.safe(&format!("{status} for {}, a page \"{title}\"", self.path)),
            None => self.safe(&format!("{status} for {}", self.path)),
        }
    }

    fn is_html(&self) -> bool {
        let declared =
            self.header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
        declared || self.body.trim_ascii_start().starts_with(b"<")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn safe(&self, text: &str) -> String {
        readable(&self.credential.scrub(text))
    }
}
