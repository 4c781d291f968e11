//! `pause`: no new agents for a pool; those that run finish their jobs.

use jiff::{SignedDuration, Timestamp, Zoned, civil};

use super::{
    Exit, Failure,
    cluster_flags::ClusterFlags,
    observed::{Ask, AskFlags, Asked, in_words, or_interrupted},
};
use crate::core::{ALL_POOLS, Control, Pause};

/// Start no new agents in a pool; those that run finish their jobs
///
/// Needs the right to get, create and update ConfigMaps in the agents' namespace.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    ask: AskFlags,
    /// Why, for whoever looks at the status
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// When it ends by itself: 2h, 18:00, 2026-01-31T18:00:00Z
    #[arg(long, value_name = "TIME|DURATION", value_parser = until)]
    until: Option<Timestamp>,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Args {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        or_interrupted(self.pause()).await
    }

    async fn pause(&self) -> Result<Exit, Failure> {
        let ask = Ask::open(&self.ask, &self.cluster).await?;
        let asked = ask.pools()?;
        let now = Timestamp::now();
        let pause = Pause { reason: self.reason.clone(), since: Some(now), until: self.until };
        let (before, after) = ask.change(|control| pause_in(control, &asked, &pause, now)).await?;
        let names = ask.names(&asked);
        let lines = names.iter().map(|name| {
            let done = match (before.pause(name, now), after.pause(name, now)) {
                (Some(old), Some(new)) if old == new => "unchanged".to_owned(),
                (Some(_), Some(new)) => format!("paused anew{}", in_words(new)),
                (_, Some(new)) => format!("paused{}", in_words(new)),
                (_, None) => "unchanged".to_owned(),
            };
            (name.clone(), done)
        });
        let mut lines: Vec<_> = lines.collect();
        if lines.is_empty() {
            lines.push((ALL_POOLS.to_owned(), format!("paused{}", in_words(&pause))));
        }
        ask.say(&lines)?;
        ask.until_shown(&names, &after).await
    }
}

/// Writes a pause for some pools. One that is the same but for its beginning stays as it is.
fn pause_in(control: &mut Control, asked: &Asked, pause: &Pause, now: Timestamp) {
    // What has ended by itself is of no use to anybody.
    control.pools.retain(|_, pause| pause.holds(now));
    let names = match asked {
        Asked::All => vec![ALL_POOLS.to_owned()],
        Asked::Pools(names) => names.clone(),
    };
    for name in names {
        control.pools.retain(|known, _| *known == name || known.to_lowercase() != name.to_lowercase());
        let is_same = |known: &Pause| known.reason == pause.reason && known.until == pause.until;
        if !control.pools.get(&name).is_some_and(is_same) {
            control.pools.insert(name, pause.clone());
        }
    }
}

/// A moment: a duration from now, a time of the day here, or RFC 3339.
fn until(text: &str) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    let moment = moment(text, &now.to_zoned(jiff::tz::TimeZone::system()))?;
    if moment <= now { Err("it is over already".to_owned()) } else { Ok(moment) }
}

fn moment(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let wrong = || "write it as 2h, 18:00 or 2026-01-31T18:00:00Z".to_owned();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(duration) = text.parse::<SignedDuration>() {
        return now.timestamp().checked_add(duration).map_err(|_| wrong());
    }
    let time = civil::Time::strptime("%H:%M", text).map_err(|_| wrong())?;
    let today = now.with().time(time).build().map_err(|_| wrong())?;
    let next = if today <= *now { today.tomorrow().map_err(|_| wrong())? } else { today };
    Ok(next.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_moment_is_a_duration_a_time_of_the_day_or_a_whole_date() {
        let now: Zoned = "2026-01-31T12:00:00+01:00[Europe/Berlin]".parse().unwrap();
        for (text, moment_then) in [
            ("2h", "2026-01-31T13:00:00Z"),
            ("18:00", "2026-01-31T17:00:00Z"),
            ("09:00", "2026-02-01T08:00:00Z"),
            ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ] {
            assert_eq!(moment(text, &now), Ok(at(moment_then)), "{text}");
        }
        assert!(moment("soon", &now).is_err());
        assert!(until("2020-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn pausing_twice_changes_nothing_and_what_is_over_goes() {
        let (now, over) = (at("2026-01-31T12:00:00Z"), at("2026-01-31T11:00:00Z"));
        let ended = Pause { until: Some(over), ..Pause::default() };
        let mut control = Control { pools: [("old".to_owned(), ended)].into(), retire: false };
        let asked = Asked::Pools(vec!["Linux".into()]);
        let pause = Pause { since: Some(now), ..Pause::default() };
        pause_in(&mut control, &asked, &pause, now);
        assert_eq!(control.pools.keys().collect::<Vec<_>>(), ["Linux"]);
        let before = control.clone();
        pause_in(&mut control, &asked, &Pause { since: Some(over), ..Pause::default() }, now);
        assert_eq!(control, before);
    }
}
