//! Values as people write them: numbers, durations, addresses, lists. Each says its range and unit when it is wrong.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use super::{Os, Polling, Registration, error::Wrong};
use crate::core::Recipe;

/// The range of numbers of agents.
pub(super) const COUNT: RangeInclusive<u32> = 0..=10_000;

/// The range of largest numbers of agents: none at all is not a limit but an end.
pub(super) const MAXIMUM: RangeInclusive<u32> = 1..=10_000;

/// The range of polling delays. Longer ones are slips of the unit: a job would wait hours for its agent.
pub(super) const POLLING: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// Azure DevOps tokens have 52 characters or more; no ordinary word has so many letters and digits in a row.
const TOKEN_LENGTH: usize = 40;

/// A value as it may be shown: in quotes, not too long, and not at all if it looks like a token in the wrong place.
pub(super) fn quoted(text: &str) -> String {
    let longest_run = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap_or(0);
    if longest_run >= TOKEN_LENGTH {
        return format!("a text of {} characters", text.chars().count());
    }
    let shown: String = text.chars().take(60).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{rest}\"", shown.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""))
}

pub(super) fn boolean(text: &str) -> Result<bool, Wrong> {
    match text.to_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err(Wrong::new(format!("is {}; it has to be true or false (or 1, 0, yes, no)", quoted(text)))),
    }
}

/// A number of agents.
pub(super) fn count(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, Wrong> {
    move |text| match text.parse::<i128>() {
        Ok(number) => count_in(&range, number),
        Err(_) => Err(wrong_count(&range, &quoted(text))),
    }
}

pub(super) fn count_in(range: &RangeInclusive<u32>, number: i128) -> Result<u32, Wrong> {
    let fits = u32::try_from(number).ok().filter(|number| range.contains(number));
    fits.ok_or_else(|| {
        let wrong = wrong_count(range, &number.to_string());
        if number == 0 { wrong.mend("leave it out for no maximum") } else { wrong }
    })
}

pub(super) fn wrong_count(range: &RangeInclusive<u32>, got: &str) -> Wrong {
    Wrong::new(format!("is {got}; it has to be a whole number from {} to {}", range.start(), range.end()))
}

/// `POLLING_DELAY`: milliseconds, as in ado-agent-orchestrator.
pub(super) fn polling_delay(text: &str) -> Result<Polling, Wrong> {
    let range = format!("{} to {}", POLLING.start().as_millis(), POLLING.end().as_millis());
    let wrong = Wrong::new(format!("is {}; it has to be a whole number of milliseconds from {range}", quoted(text)));
    let wrong = wrong.mend("leave it out: then it is 1 second while anything waits, growing to 5 when all is quiet");
    let Ok(milliseconds) = text.parse::<u64>() else { return Err(wrong) };
    let delay = Duration::from_millis(milliseconds);
    if POLLING.contains(&delay) { Ok(Polling::Every(delay)) } else { Err(wrong) }
}

/// `polling` of the file: `adaptive` or a duration.
pub(super) fn polling(text: &str) -> Result<Polling, Wrong> {
    if text.eq_ignore_ascii_case("adaptive") {
        return Ok(Polling::Adaptive);
    }
    duration(POLLING)(text).map(Polling::Every).map_err(|wrong| Wrong::new(format!("{}, or adaptive", wrong.what)))
}

/// A duration with its units, such as `90s` or `1h30m`.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, Wrong> {
    move |text| {
        let parsed = parse_duration(text).filter(|duration| range.contains(duration));
        parsed.ok_or_else(|| wrong_duration(&range, &quoted(text)))
    }
}

pub(super) fn wrong_duration(range: &RangeInclusive<Duration>, got: &str) -> Wrong {
    let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
    Wrong::new(format!("is {got}; it has to be a duration with its unit, such as 90s or 1h30m, from {least} to {most}"))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        if milliseconds >= last_unit {
            return None;
        }
        last_unit = milliseconds;
        total += Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(milliseconds)?);
        rest = tail;
    }
    (last_unit != u64::MAX).then_some(total)
}

pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if milliseconds >= size && milliseconds.is_multiple_of(size) {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    if milliseconds == 0 { "0s".to_owned() } else { format!("{milliseconds}ms") }
}

/// An address to listen on; `:8080` and `localhost:8080` are understood.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, Wrong> {
    let port = |text: &str| text.parse::<u16>().ok();
    let parsed = match text.rsplit_once(':') {
        Some(("", digits)) => port(digits).map(|port| (IpAddr::from(Ipv4Addr::UNSPECIFIED), port).into()),
        Some((host, digits)) if host.eq_ignore_ascii_case("localhost") => {
            port(digits).map(|port| (IpAddr::from(Ipv4Addr::LOCALHOST), port).into())
        }
        _ => text.parse().ok(),
    };
    parsed.ok_or_else(|| {
        let wrong = Wrong::new(format!("is {}; it has to be an address and a port", quoted(text)));
        let example = port(text).unwrap_or(8080);
        wrong.mend(format!("write 0.0.0.0:{example} for every interface, or 127.0.0.1:{example} for this machine"))
    })
}

/// An absolute path of a node.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, Wrong> {
    if text.starts_with('/') && !text.contains(char::is_control) {
        return Ok(PathBuf::from(text));
    }
    let wrong = Wrong::new(format!("is {}; it has to be an absolute path on the node", quoted(text)));
    Err(wrong.mend("for example /var/run/docker.sock"))
}

/// A path, taken as it is.
#[expect(clippy::unnecessary_wraps, reason = "one of the family of parsers")]
pub(super) fn path(text: &str) -> Result<PathBuf, Wrong> {
    Ok(PathBuf::from(text))
}

pub(super) fn os(text: &str) -> Result<Os, Wrong> {
    match text.to_lowercase().as_str() {
        "linux" => Ok(Os::Linux),
        "windows" => Ok(Os::Windows),
        _ => Err(Wrong::new(format!("is {}; it has to be linux or windows", quoted(text)))),
    }
}

/// How agents get the right to work.
pub(super) fn registration(text: &str) -> Result<Registration, Wrong> {
    let name = text.to_lowercase();
    match Recipe::of_name(&name) {
        Some(recipe) => Ok(Registration::Only(recipe)),
        None if name == "auto" => Ok(Registration::Auto),
        None => {
            let text = quoted(text);
            Err(Wrong::new(format!("is {text}; it has to be auto, just-in-time, init-container or token")))
        }
    }
}

/// The name of an agent pool: any text on one line.
pub(super) fn pool_name(text: &str) -> Result<String, Wrong> {
    let name = text.trim();
    if name.is_empty() {
        return Err(Wrong::new("is empty; it has to name an agent pool"));
    }
    if name.contains(char::is_control) {
        return Err(Wrong::new(format!("is {}; it has a control character in it", quoted(name))));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, seconds) in [("5m", 300), ("90s", 90), ("24h", 86_400), ("1h30m", 5400), ("2d", 172_800), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("1s500ms"), Some(Duration::from_millis(1500)));
        for text in ["", "5", "m", "5 m", "-5m", "1.5h", "30m1h", "5m5m", "5w", "999999999999999999d", "٣m"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_may_leave_out_the_interface() {
        for (text, address) in [
            (":8080", "0.0.0.0:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("[::]:80", "[::]:80"),
        ] {
            assert_eq!(listen_address(text).unwrap(), address.parse().unwrap(), "{text}");
        }
        for text in ["8080", "0.0.0.0", ":", ":99999", "example.org:80", "http://0.0.0.0:80"] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_token_is_never_shown() {
        assert_eq!(quoted(&"a1".repeat(26)), "a text of 52 characters");
        assert_eq!(quoted("it's\n"), "\"it's\\n\"");
    }
}
