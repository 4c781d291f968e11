//! Traces of queues: one JSON object a line, such as `{"time": 12.5, "demands": ["docker"], "duration": 300}`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{Job, LONGEST_WORKLOAD, Workload};

/// What is wrong with a trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// A line cannot be used.
    #[error("line {line}: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// There is nothing in it.
    #[error("it has no jobs")]
    Empty,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    time: Value,
    #[serde(default)]
    demands: Vec<String>,
    duration: Value,
}

/// When a job is queued, as its line says it.
#[derive(Clone, Copy)]
enum Moment {
    /// From the beginning.
    After(Duration),
    At(Timestamp),
}

/// Reads a trace. `time` is a number of seconds from the beginning or an RFC 3339 timestamp (the earliest one is the
/// beginning), the same on all lines; `duration` is a number of seconds or a text such as `5m30s`; `demands` may be
/// left out. Lines need no order; blank ones are skipped.
///
/// # Errors
///
/// [`TraceError`], with the number of the first line that is wrong.
pub fn read_trace(text: &str) -> Result<Workload, TraceError> {
    let mut lines = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if !line.trim().is_empty() {
            let read = read_line(line).map_err(|problem| TraceError::Line { line: index + 1, problem })?;
            lines.push((index + 1, read));
        }
    }
    let stamps = lines.iter().filter_map(|(_, (moment, ..))| match moment {
        Moment::At(stamp) => Some(*stamp),
        Moment::After(_) => None,
    });
    let beginning = stamps.min();
    let mut jobs = Vec::new();
    for (line, (moment, demands, duration)) in lines {
        let wrong = |problem: &str| TraceError::Line { line, problem: problem.to_owned() };
        let at = match (moment, beginning) {
            (Moment::After(time), None) => time,
            (Moment::At(stamp), Some(beginning)) => stamp.duration_since(beginning).unsigned_abs(),
            _ => return Err(wrong("\"time\" is a number of seconds on some lines and a timestamp on others")),
        };
        if at > LONGEST_WORKLOAD {
            return Err(wrong("\"time\" is more than 366 days after the beginning"));
        }
        jobs.push(Job { at, demands, duration });
    }
    if jobs.is_empty() { Err(TraceError::Empty) } else { Ok(Workload::new(jobs)) }
}

fn read_line(line: &str) -> Result<(Moment, Vec<String>, Duration), String> {
    let Line { time, demands, duration } = serde_json::from_str(line).map_err(|error| {
        // Its line is always the first one here.
        error.to_string().replace(" at line 1 column ", ", at column ")
    })?;
    let moment = match &time {
        Value::Number(number) => Moment::After(seconds(number).ok_or_else(|| wrong_time(&time))?),
        Value::String(text) => Moment::At(text.trim().parse().map_err(|_| wrong_time(&time))?),
        _ => return Err(wrong_time(&time)),
    };
    let length = match &duration {
        Value::Number(number) => seconds(number),
        Value::String(text) => text.trim().parse::<SignedDuration>().ok().and_then(|length| length.try_into().ok()),
        _ => None,
    };
    let length = length.filter(|length| *length <= LONGEST_WORKLOAD).ok_or_else(|| {
        format!(
            "\"duration\" is {duration}; it has to be a number of seconds or a text such as \"5m30s\", not negative"
        )
    })?;
    if let Some(empty) = demands.iter().position(|demand| demand.trim().is_empty()) {
        return Err(format!("demand {} of \"demands\" is empty", empty + 1));
    }
    Ok((moment, demands, length))
}

fn wrong_time(time: &Value) -> String {
    format!("\"time\" is {time}; it has to be a number of seconds, not negative, or an RFC 3339 timestamp")
}

fn seconds(number: &serde_json::Number) -> Option<Duration> {
    Duration::try_from_secs_f64(number.as_f64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read_trace(text).unwrap_err().to_string()
    }

    #[test]
    fn seconds_and_timestamps_are_read_and_sorted() {
        let seconds = read_trace(
            "{\"time\": 20, \"duration\": 300}\n\n{\"time\": 0.5, \"demands\": [\"docker\"], \"duration\": \"1m30s\"}\n",
        );
        let stamps = read_trace(
            "{\"time\": \"2026-01-05T08:00:20.000Z\", \"duration\": 300}\r\n\
             {\"time\": \"2026-01-05T10:00:00.5+02:00\", \"demands\": [\"docker\"], \"duration\": 90}",
        );
        let jobs = seconds.unwrap().jobs().to_vec();
        assert_eq!(jobs[0].at, Duration::from_millis(500));
        assert_eq!(
            (jobs[0].demands.as_slice(), jobs[0].duration),
            (["docker".to_owned()].as_slice(), Duration::from_secs(90))
        );
        let stamps = stamps.unwrap().jobs().to_vec();
        assert_eq!((stamps[0].at, stamps[1].at), (Duration::ZERO, Duration::from_millis(19_500)));
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        for (text, says) in [
            ("{\"time\": 0, \"duration\": 1}\n{\"time\": -1, \"duration\": 1}", "line 2: \"time\" is -1"),
            ("\n{\"time\": 0, \"duration\": -300}", "line 2: \"duration\" is -300"),
            ("{\"time\": 0, \"duration\": \"-5m\"}", "line 1: \"duration\" is \"-5m\""),
            ("{\"time\": 0}", "line 1: missing field `duration`, at column"),
            ("{\"time\": 0, \"duration\": 1, \"demand\": []}", "line 1: unknown field `demand`"),
            ("{\"time\": \"noon\", \"duration\": 1}", "line 1: \"time\" is \"noon\""),
            ("{\"time\": null, \"duration\": 1}", "line 1: \"time\" is null"),
            ("{\"time\": 1e12, \"duration\": 1}", "line 1: \"time\" is more than 366 days"),
            ("{\"time\": 0, \"demands\": [\" \"], \"duration\": 1}", "line 1: demand 1"),
            ("time,duration", "line 1: expected"),
            (
                "{\"time\": 0, \"duration\": 1}\n{\"time\": \"2026-01-05T08:00:00Z\", \"duration\": 1}",
                "line 1: \"time\" is a",
            ),
            ("", "it has no jobs"),
        ] {
            assert!(error(text).starts_with(says), "{text}: {}", error(text));
        }
    }
}
