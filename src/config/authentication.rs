//! How the organization is signed in to: by a token that is brought, or by one of Entra.

use super::{
    TokenSource,
    assemble::{TOKEN_FILE, token_file},
    environment::Environment,
    error::{Problems, Wrong},
    settings::Settings,
    value::quoted,
};

/// The organization or collection that is served.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Its URL as it was given, without a trailing slash: `https://dev.azure.com/contoso`,
    /// `https://tfs.example/tfs/DefaultCollection`.
    pub url: String,
    /// How to sign in.
    pub authentication: Authentication,
}

/// How to sign in to Azure DevOps.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// By a personal access token, which comes from here.
    Pat(TokenSource),
    /// By a token of Entra, which is had as [`Config::entra`](super::Config) says.
    Entra,
}

impl Authentication {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pat(_) => SignIn::Pat.name(),
            Self::Entra => SignIn::Entra.name(),
        }
    }
}

/// The ways to sign in, by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignIn {
    Pat,
    Entra,
}

impl SignIn {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pat => "pat",
            Self::Entra => "entra",
        }
    }
}

pub(super) fn sign_in(text: &str) -> Result<SignIn, Wrong> {
    match text.to_lowercase().as_str() {
        "pat" => Ok(SignIn::Pat),
        "entra" => Ok(SignIn::Entra),
        "service-principal" | "managed-identity" | "workload-identity" | "aad" | "azure-ad" => {
            let what = format!("is {}; it has to be pat or entra", quoted(text));
            Err(Wrong::new(what).mend("use entra: which identity that is, the environment says (AZURE_CLIENT_ID, …)"))
        }
        _ => Err(Wrong::new(format!("is {}; it has to be pat or entra", quoted(text)))),
    }
}

/// How to sign in, with what is needed for it. A token beside Entra is not used, so it need not even be readable.
pub(super) fn authentication(
    settings: &Settings,
    environment: &Environment,
    problems: &Problems,
) -> Option<Authentication> {
    let token = settings.token.as_ref().map(|token| &token.origin);
    let unused = token.or(settings.token_file.as_ref().map(|file| &file.origin));
    match &settings.sign_in {
        Some(found) if found.value == SignIn::Entra => {
            if let Some(unused) = unused {
                problems.warn(format!("{unused} is not used: {} is entra", found.origin));
            }
            Some(Authentication::Entra)
        }
        // What was meant cannot be told, so that no token is no news.
        None if unused.is_none() && settings.in_file.contains(&"ORG_AUTHENTICATION") => None,
        _ => pat(settings, environment, problems).map(Authentication::Pat),
    }
}

fn pat(settings: &Settings, environment: &Environment, problems: &Problems) -> Option<TokenSource> {
    match (&settings.token, &settings.token_file) {
        (Some(token), _) => Some(TokenSource::Value(token.value.clone())),
        (None, Some(file)) if problems.is_elsewhere() => Some(TokenSource::File(file.value.clone())),
        (None, Some(file)) => token_file(file, problems),
        (None, None) if problems.is_elsewhere() => Some(TokenSource::File(TOKEN_FILE.into())),
        (None, None) if settings.in_file.contains(&"ORG_PAT_FILE") => None,
        (None, None) => {
            let needed = "neither ORG_PAT_FILE nor ORG_PAT is set, and no file has organization.tokenFile";
            let mend = "set ORG_PAT_FILE to a file with a token that may manage agent pools, or ORG_PAT to the token, or \
                        ORG_AUTHENTICATION=entra to sign in without one";
            environment.report_missing(&["ORG_PAT_FILE", "ORG_PAT", "ORG_AUTHENTICATION"], needed, mend, problems);
            None
        }
    }
}
