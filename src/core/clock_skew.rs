//! Clocks that differ: noticed from what servers say of theirs, and told, because certificates, tokens and schedules go wrong
//! by them even where nothing of ours does.

use jiff::SignedDuration;

use super::{Code, Finding};

/// By how much clocks may differ.
const TOLERATED: SignedDuration = SignedDuration::from_secs(30);

/// The finding, if this machine's clock, Azure DevOps' and the host's differ. `azure_devops` and `host` say by how much
/// each of them is ahead of ours, as far as that is known; `ours` and `host` come with how a sentence calls them.
#[must_use]
pub fn clock_skew(
    ours: &str,
    azure_devops: Option<SignedDuration>,
    host: Option<(&str, SignedDuration)>,
) -> Option<Finding> {
    let differs = |ahead: &SignedDuration| ahead.abs() > TOLERATED;
    let own = |than: &str, ahead: SignedDuration| {
        let message = format!("the clock of {ours} is {} {than}", by(-ahead));
        let fix =
            format!("let {ours} (in a cluster, the node) take its time from NTP: timedatectl shows whether it does");
        (message, fix)
    };
    let (message, fix) = match (azure_devops.filter(differs), host.filter(|(_, ahead)| differs(ahead))) {
        (None, None) => return None,
        (Some(ahead), Some((name, other))) if !differs(&(ahead - other)) => {
            own(&format!("Azure DevOps' and that of {name}"), ahead)
        }
        (Some(ahead), Some((name, other))) => {
            let message = format!(
                "compared with the clock of {ours}, Azure DevOps' is {}, and that of {name} is {}",
                by_word(ahead),
                by_word(other)
            );
            (message, format!("let {ours} and {name} take their time from NTP"))
        }
        (Some(ahead), None) if host.is_none() => own("Azure DevOps'", ahead),
        (Some(ahead), None) => {
            let message = format!("Azure DevOps' clock is {} that of {ours} and its host", by(ahead));
            let fix = format!(
                "let {ours} and its host take their time from NTP; if they do, a proxy answers in the place of Azure DevOps, or \
                 a Server's clock is wrong"
            );
            (message, fix)
        }
        (None, Some((name, ahead))) if azure_devops.is_none() => own(&format!("that of {name}"), ahead),
        (None, Some((name, ahead))) => {
            let message = format!("the clock of {name} is {} that of Azure DevOps and of {ours}", by(ahead));
            (message, format!("let the machine of {name} take its time from NTP"))
        }
    };
    Some(Finding::new(Code::ClocksDiffer, message, Some(fix)))
}

/// Coarse, so that the same skew always reads the same.
fn amount(skew: SignedDuration) -> String {
    let seconds = skew.abs().as_secs();
    match seconds {
        ..90 => "about a minute".to_owned(),
        90..5400 => format!("about {} min", (seconds + 30) / 60),
        5400..172_800 => format!("about {} h", (seconds + 1800) / 3600),
        _ => format!("about {} days", (seconds + 43_200) / 86_400),
    }
}

fn by(ahead: SignedDuration) -> String {
    format!("{} {}", amount(ahead), if ahead.is_negative() { "behind" } else { "ahead of" })
}

fn by_word(ahead: SignedDuration) -> String {
    format!("{} {}", amount(ahead), if ahead.is_negative() { "behind" } else { "ahead" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(azure_devops: Option<i64>, host: Option<i64>) -> String {
        let ahead = |seconds: Option<i64>| seconds.map(SignedDuration::from_secs);
        let host = ahead(host).map(|ahead| ("the API server", ahead));
        clock_skew("the orchestrator's machine", ahead(azure_devops), host)
            .map(|finding| finding.message)
            .unwrap_or_default()
    }

    #[test]
    fn half_a_minute_is_tolerated_and_more_is_told_of_the_one_that_is_wrong() {
        for (azure_devops, host, expected) in [
            (None, None, ""),
            (Some(0), None, ""),
            (Some(30), Some(-30), ""),
            (None, Some(12), ""),
            (
                Some(600),
                Some(605),
                "the clock of the orchestrator's machine is about 10 min behind Azure DevOps' and that of the API server",
            ),
            (
                Some(-7300),
                Some(-7290),
                "the clock of the orchestrator's machine is about 2 h ahead of Azure DevOps' and that of the API server",
            ),
            (Some(-45), None, "the clock of the orchestrator's machine is about a minute ahead of Azure DevOps'"),
            (None, Some(300), "the clock of the orchestrator's machine is about 5 min behind that of the API server"),
            (
                Some(0),
                Some(600),
                "the clock of the API server is about 10 min ahead of that of Azure DevOps and of the orchestrator's machine",
            ),
            (
                Some(259_200),
                Some(0),
                "Azure DevOps' clock is about 3 days ahead of that of the orchestrator's machine and its host",
            ),
            (
                Some(600),
                Some(-600),
                "compared with the clock of the orchestrator's machine, Azure DevOps' is about 10 min ahead, and that of the API server is about 10 min behind",
            ),
        ] {
            assert_eq!(said(azure_devops, host), expected, "{azure_devops:?} {host:?}");
        }
    }

    #[test]
    fn the_finding_is_a_warning_with_a_line_that_mends_it() {
        let finding = clock_skew("this machine", Some(SignedDuration::from_secs(600)), None).unwrap();
        assert_eq!((finding.code, finding.severity), (Code::ClocksDiffer, crate::core::Severity::Warning));
        assert!(finding.fix.unwrap().contains("NTP"));
    }
}
