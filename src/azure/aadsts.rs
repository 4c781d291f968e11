//! What Entra's error codes mean for whoever has to mend them.

/// What the code stands for, as far as it can be mended by who reads it.
const FIXES: &[(&str, &str)] = &[
    (
        "AADSTS7000215",
        "set AZURE_CLIENT_SECRET to the secret's value (not its ID) of the app registration AZURE_CLIENT_ID",
    ),
    (
        "AADSTS7000222",
        "the client secret has expired: make a new one (App registrations > Certificates & secrets) and set AZURE_CLIENT_SECRET",
    ),
    ("AADSTS7000216", "set AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE"),
    (
        "AADSTS700016",
        "AZURE_CLIENT_ID is no application of the tenant AZURE_TENANT_ID: compare both with the app registration",
    ),
    (
        "AADSTS700027",
        "upload the certificate of AZURE_CLIENT_CERTIFICATE_PATH to the app registration (Certificates & secrets)",
    ),
    ("AADSTS700024", "the signed assertion is not valid now: set this machine's clock, or renew the token file"),
    (
        "AADSTS7002",
        "add a federated credential to the identity whose issuer, subject (system:serviceaccount:NAMESPACE:NAME) and audience are the token's",
    ),
    (
        "AADSTS70021",
        "add a federated credential to the identity whose issuer, subject (system:serviceaccount:NAMESPACE:NAME) and audience are the token's",
    ),
    ("AADSTS70011", "the scope is unknown in this cloud: check AZ_ENVIRONMENT and AZURE_AUTHORITY_HOST"),
    ("AADSTS900023", "set AZURE_TENANT_ID to the tenant's GUID or domain (az account show --query tenantId)"),
    ("AADSTS90002", "set AZURE_TENANT_ID to the tenant's GUID or domain (az account show --query tenantId)"),
    (
        "AADSTS500011",
        "the tenant does not know the service: connect the organization to it (Organization settings > Microsoft Entra)",
    ),
    ("AADSTS53003", "a policy for conditional access refuses this identity from here: ask the tenant's administrator"),
    ("AADSTS7000112", "the application is disabled: enable it (Enterprise applications > Properties)"),
];

/// The description without what is only of use to support: trace, correlation, time.
pub(super) fn readable(description: &str) -> &str {
    let end = ["Trace ID:", "Correlation ID:", "\r\n", "\n"].iter().filter_map(|mark| description.find(mark)).min();
    description[..end.unwrap_or(description.len())].trim()
}

/// A text in which lines that only support could use are left out.
pub(super) fn without_trace(text: &str) -> String {
    let of_use =
        |line: &&str| !["Trace ID:", "Correlation ID:", "Timestamp:"].iter().any(|mark| line.starts_with(mark));
    text.lines().map(readable_line).filter(|line| of_use(&line.trim_start())).collect::<Vec<_>>().join("\n")
}

fn readable_line(line: &str) -> &str {
    line.find(" Trace ID:").map_or(line, |end| &line[..end])
}

/// What mends it, if the code is a known one. Longer codes are looked for first: some are the beginning of others.
pub(super) fn fix(said: &str) -> Option<&'static str> {
    let start = said.find("AADSTS")?;
    let code: &str = &said[start..];
    let end = code.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(code.len());
    let code = &code[..end];
    let exact = FIXES.iter().find(|(known, _)| *known == code);
    // 700211 to 700213, 7002138 … are all about a federated token.
    let family = || FIXES.iter().find(|(known, _)| *known == "AADSTS7002" && code.starts_with(known));
    exact.or_else(family).map(|(_, fix)| *fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_stays_and_what_support_wants_goes() {
        let description = "AADSTS7000215: Invalid client secret provided. Trace ID: 1 Correlation ID: 2 Timestamp: 3";
        assert_eq!(readable(description), "AADSTS7000215: Invalid client secret provided.");
        assert_eq!(readable("AADSTS90002: Tenant 'x' not found.\r\nTrace ID: 1"), "AADSTS90002: Tenant 'x' not found.");
    }

    #[test]
    fn known_codes_have_a_fix_and_similar_ones_are_not_confused() {
        assert!(fix("AADSTS7000215: x").unwrap().contains("not its ID"));
        assert!(fix("AADSTS7000222: x").unwrap().contains("expired"));
        assert!(fix("AADSTS700213: x").unwrap().contains("federated"));
        assert!(fix("AADSTS70021: x").unwrap().contains("federated"));
        assert!(fix("AADSTS90002: x").unwrap().contains("AZURE_TENANT_ID"));
        assert_eq!(fix("AADSTS1: x"), None);
        assert_eq!(fix("invalid_request"), None);
    }
}
