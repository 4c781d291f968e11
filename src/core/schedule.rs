//! Times of the week with other numbers of agents, in a time zone of their own.

use jiff::{Timestamp, civil::Time, tz::TimeZone};

use super::Scale;

/// A day of the week, as configurations write it.
pub use jiff::civil::Weekday;

/// A window of the week and what changes in it.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The days on which the window opens.
    pub days: Vec<Weekday>,
    /// When it opens, inclusive.
    pub from: Time,
    /// When it closes, exclusive. At or before `from` it closes on the next day.
    pub to: Time,
    /// Where these times hold.
    pub time_zone: TimeZone,
    /// Replaces the least number of agents.
    pub min: Option<u32>,
    /// Replaces the number of idle agents.
    pub idle: Option<u32>,
    /// Replaces the most agents.
    pub max: Option<u32>,
}

impl Schedule {
    /// Whether the window is open at a moment.
    #[must_use]
    pub fn covers(&self, now: Timestamp) -> bool {
        let local = now.to_zoned(self.time_zone.clone());
        let (day, time) = (local.weekday(), local.time());
        if self.from < self.to {
            return self.days.contains(&day) && self.from <= time && time < self.to;
        }
        let opened_today = self.days.contains(&day) && self.from <= time;
        let opened_yesterday = self.days.contains(&day.previous()) && time < self.to;
        opened_today || opened_yesterday
    }

    /// The next moment at which the window may open or close. Where clocks are put forward or back, that moment too.
    #[must_use]
    pub fn next_edge(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.to_zoned(self.time_zone.clone()).date();
        let over_midnight = self.from >= self.to;
        // A week and a day, and the day before for a window that is open since then.
        let days = (-1..=8).filter_map(|days| today.checked_add(jiff::Span::new().days(days)).ok());
        let windows = days.filter(|day| self.days.contains(&day.weekday()));
        let times = windows.flat_map(|day| {
            let closes_on = if over_midnight { day.tomorrow().ok() } else { Some(day) };
            [Some(day.to_datetime(self.from)), closes_on.map(|day| day.to_datetime(self.to))].into_iter().flatten()
        });
        let edges = times.filter_map(|time| self.time_zone.to_timestamp(time).ok());
        let clocks = self.time_zone.following(now).next().map(|transition| transition.timestamp());
        edges.chain(clocks).filter(|edge| *edge > now).min()
    }

    /// The numbers with this window's own in their place.
    #[must_use]
    pub fn over(&self, scale: Scale) -> Scale {
        Scale { min: self.min.unwrap_or(scale.min), idle: self.idle.unwrap_or(scale.idle), max: self.max.or(scale.max) }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    fn schedule(days: &[Weekday], from: Time, to: Time) -> Schedule {
        let time_zone = TimeZone::get("Europe/Berlin").unwrap();
        Schedule { days: days.to_vec(), from, to, time_zone, min: None, idle: Some(4), max: None }
    }

    #[test]
    fn office_hours_follow_the_clock_of_their_zone_through_summer_time() {
        let office = schedule(&[Weekday::Monday], time(7, 30, 0, 0), time(18, 0, 0, 0));
        for (moment, open) in [
            ("2026-01-05T06:29:59Z", false), // a Monday in winter, 07:29:59 in Berlin
            ("2026-01-05T06:30:00Z", true),
            ("2026-01-05T16:59:59Z", true),
            ("2026-01-05T17:00:00Z", false),
            ("2026-07-06T05:30:00Z", true), // a Monday in summer, 07:30
            ("2026-07-06T05:29:59Z", false),
            ("2026-07-07T06:30:00Z", false), // a Tuesday
        ] {
            assert_eq!(office.covers(moment.parse().unwrap()), open, "{moment}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        let night = schedule(&[Weekday::Friday], time(22, 0, 0, 0), time(6, 0, 0, 0));
        for (moment, open) in [
            ("2026-01-09T21:00:00Z", true), // Friday 22:00
            ("2026-01-10T04:59:59Z", true), // Saturday 05:59:59
            ("2026-01-10T05:00:00Z", false),
            ("2026-01-10T21:30:00Z", false), // Saturday 22:30
            ("2026-01-09T04:00:00Z", false), // Friday 05:00
        ] {
            assert_eq!(night.covers(moment.parse().unwrap()), open, "{moment}");
        }
    }

    #[test]
    fn the_next_edge_is_the_next_opening_or_closing_a_week_ahead_at_most() {
        let office = schedule(&[Weekday::Monday], time(7, 30, 0, 0), time(18, 0, 0, 0));
        let night = schedule(&[Weekday::Friday], time(22, 0, 0, 0), time(6, 0, 0, 0));
        for (schedule, now, next) in [
            (&office, "2026-01-05T06:00:00Z", "2026-01-05T06:30:00Z"),
            (&office, "2026-01-05T06:30:00Z", "2026-01-05T17:00:00Z"),
            (&office, "2026-01-05T17:00:00Z", "2026-01-12T06:30:00Z"),
            (&night, "2026-01-10T03:00:00Z", "2026-01-10T05:00:00Z"),
            (&night, "2026-01-10T05:00:00Z", "2026-01-16T21:00:00Z"),
        ] {
            assert_eq!(schedule.next_edge(now.parse().unwrap()), Some(next.parse().unwrap()), "{now}");
        }
    }

    #[test]
    fn only_what_a_schedule_names_is_replaced() {
        let office = schedule(&[Weekday::Monday], time(7, 30, 0, 0), time(18, 0, 0, 0));
        let usual = Scale { min: 1, idle: 0, max: Some(9) };
        assert_eq!(office.over(usual), Scale { min: 1, idle: 4, max: Some(9) });
    }
}
