//! Schedules of an agent template: days, times of day, a time zone, and the numbers that hold then.

use jiff::{civil::Time, tz::TimeZone};

use super::{
    error::Wrong,
    near_miss,
    origin::Found,
    reader::Field,
    value::{COUNT, quoted},
};
use crate::core::{Schedule, Weekday};

const KEYS: &[&str] = &["days", "from", "to", "timeZone", "minAgents", "idleAgents", "maxAgents"];

const DAYS: [(&str, &str, Weekday); 7] = [
    ("mon", "monday", Weekday::Monday),
    ("tue", "tuesday", Weekday::Tuesday),
    ("wed", "wednesday", Weekday::Wednesday),
    ("thu", "thursday", Weekday::Thursday),
    ("fri", "friday", Weekday::Friday),
    ("sat", "saturday", Weekday::Saturday),
    ("sun", "sunday", Weekday::Sunday),
];

/// A schedule, with the origins of its numbers.
pub(super) struct ScheduleSettings {
    pub(super) schedule: Schedule,
    pub(super) min: Option<Found<u32>>,
    pub(super) idle: Option<Found<u32>>,
    pub(super) max: Option<Found<u32>>,
}

/// `schedules` of an agent template.
pub(super) fn schedules(field: &Field<'_>) -> Vec<ScheduleSettings> {
    field.list().unwrap_or_default().iter().filter_map(schedule).collect()
}

fn schedule(item: &Field<'_>) -> Option<ScheduleSettings> {
    let map = item.map(KEYS)?;
    let days = match map.get_even_empty("days") {
        Some(field) => days(&field),
        None => Some(DAYS.iter().map(|(_, _, day)| *day).collect()),
    };
    let time = |key: &str, parse: fn(&str) -> Result<Time, Wrong>| match map.get(key) {
        Some(field) => field.text(parse).map(|time| time.value),
        None => {
            item.report(
                Wrong::new(format!("has no `{key}`")).mend(format!("add a time of day, such as {key}: \"07:30\"")),
            );
            None
        }
    };
    let (from, to) = (time("from", time_of_day), time("to", end_of_window));
    let time_zone = match map.get("timeZone") {
        Some(field) => field.text(time_zone).map(|zone| zone.value),
        None => Some(TimeZone::UTC),
    };
    let number = |key: &str| map.get(key).map(|field| field.count(&COUNT));
    let numbers = [number("minAgents"), number("idleAgents"), number("maxAgents")];
    if numbers.iter().all(Option::is_none) {
        item.report(Wrong::new("changes nothing").mend("add minAgents, idleAgents or maxAgents"));
    }
    let [min, idle, max] = numbers.map(Option::flatten);
    let value = |found: &Option<Found<u32>>| found.as_ref().map(|found| found.value);
    let schedule = Schedule {
        days: days?,
        from: from?,
        to: to?,
        time_zone: time_zone?,
        min: value(&min),
        idle: value(&idle),
        max: value(&max),
    };
    Some(ScheduleSettings { schedule, min, idle, max })
}

fn days(field: &Field<'_>) -> Option<Vec<Weekday>> {
    let mut days = Vec::new();
    for item in field.list()? {
        let day = item.text(weekday)?.value;
        if !days.contains(&day) {
            days.push(day);
        }
    }
    Some(days)
}

fn weekday(text: &str) -> Result<Weekday, Wrong> {
    let name = text.to_lowercase();
    let known = DAYS.iter().find(|(short, long, _)| name == *short || name == *long);
    known.map(|(_, _, day)| *day).ok_or_else(|| {
        let short = DAYS.map(|(short, ..)| short);
        let wrong = Wrong::new(format!("is {}; it has to be one of {}", quoted(text), short.join(", ")));
        match DAYS.iter().find(|(_, long, _)| name.len() > 1 && long.starts_with(&name)) {
            Some((short, ..)) => wrong.mend(format!("did you mean {short}?")),
            None => wrong,
        }
    })
}

/// A time such as `07:30`.
fn time_of_day(text: &str) -> Result<Time, Wrong> {
    let parsed = text.split_once(':').and_then(|(hour, minute)| {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let fits = digits(hour) && digits(minute) && (1..=2).contains(&hour.len()) && minute.len() == 2;
        fits.then(|| Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok())?
    });
    parsed.ok_or_else(|| {
        Wrong::new(format!("is {}; it has to be a time of day from \"00:00\" to \"23:59\"", quoted(text)))
    })
}

/// A window may end with the day; that is when the next one begins.
fn end_of_window(text: &str) -> Result<Time, Wrong> {
    if text == "24:00" { Ok(Time::midnight()) } else { time_of_day(text) }
}

fn time_zone(text: &str) -> Result<TimeZone, Wrong> {
    TimeZone::get(text).map_err(|_| {
        let wrong = Wrong::new(format!("is {}; it has to be an IANA time zone such as Europe/Berlin", quoted(text)));
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let city = format!("/{}", text.replace(' ', "_").to_lowercase());
        let in_city = names.iter().find(|name| name.to_lowercase().ends_with(&city));
        match in_city.map(String::as_str).or_else(|| near_miss::closest(text, names.iter().map(String::as_str))) {
            Some(name) => wrong.mend(format!("did you mean {name}?")),
            None => wrong,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_have_hours_and_minutes() {
        assert_eq!(time_of_day("07:30").unwrap(), Time::constant(7, 30, 0, 0));
        assert_eq!(time_of_day("7:30").unwrap(), Time::constant(7, 30, 0, 0));
        assert_eq!(end_of_window("24:00").unwrap(), Time::midnight());
        for text in ["25:00", "24:00", "7", "7:3", "07:60", "0730", "-1:00", "07:30:00", "7:30 pm", ":", "+7:30"] {
            assert!(time_of_day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_day_or_zone_is_answered_with_what_was_meant() {
        assert_eq!(weekday("mo").unwrap_err().fix.unwrap(), "did you mean mon?");
        assert_eq!(weekday("Friday").unwrap(), Weekday::Friday);
        assert_eq!(time_zone("Berlin").unwrap_err().fix.unwrap(), "did you mean Europe/Berlin?");
        assert_eq!(time_zone("Europe/Berlim").unwrap_err().fix.unwrap(), "did you mean Europe/Berlin?");
        assert!(time_zone("Mars/Olympus").is_err());
    }
}
