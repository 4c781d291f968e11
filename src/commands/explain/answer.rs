//! Tests in their order: each is shown with its evidence, up to the first that fails. That one is the answer.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    core::{Code, Finding, Severity},
    output::{Paint, harmless, wrap, wrap_from},
};

/// The column in which the evidence begins.
const TEXT: usize = 8;

/// How a test came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Nothing stands in the way here.
    Ok,
    /// Something is to be known, and stops nothing.
    Note,
    /// This stands in the way.
    Stop,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Test {
    /// How it came out.
    pub(super) outcome: Outcome,
    /// The code of what was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<Code>,
    /// The evidence.
    pub(super) evidence: String,
    /// The line that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    /// `request`, `pool` or `job`.
    pub(super) about: &'static str,
    /// Its number or name.
    pub(super) name: String,
    /// It, with what is known of it.
    pub(super) title: String,
    /// The tests up to the first that fails.
    pub(super) tests: Vec<Test>,
    /// What is being done, where nothing stops it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<String>,
}

/// Something that a test may find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) fix: Option<String>,
    pub(super) stops: bool,
}

impl Cause {
    /// As a finding tells of it; what is no more than worth knowing stops nothing.
    pub(super) fn of(finding: &Finding) -> Self {
        let Finding { code, message, fix, severity, .. } = finding.clone();
        Self { code, message, fix, stops: severity > Severity::Info }
    }

    pub(super) fn noted(mut self) -> Self {
        self.stops = false;
        self
    }
}

impl Explanation {
    pub(super) fn new(about: &'static str, name: impl Into<String>, title: impl Into<String>) -> Self {
        Self { about, name: name.into(), title: title.into(), tests: Vec::new(), result: None }
    }

    /// What stops it.
    pub(super) fn stop(&self) -> Option<&Test> {
        self.tests.last().filter(|test| test.outcome == Outcome::Stop)
    }

    /// One test, unless an earlier one has answered already. `good` is the evidence that all is well.
    pub(super) fn test(&mut self, cause: Option<Cause>, good: impl FnOnce() -> String) {
        if self.stop().is_some() {
            return;
        }
        let test = match cause {
            None => Test { outcome: Outcome::Ok, code: None, evidence: good(), fix: None },
            Some(Cause { code, message, fix, stops }) => {
                let outcome = if stops { Outcome::Stop } else { Outcome::Note };
                Test { outcome, code: Some(code), evidence: message, fix }
            }
        };
        self.tests.push(test);
    }

    /// Something to be known beside the tests.
    pub(super) fn note(&mut self, cause: Cause) {
        self.test(Some(cause.noted()), String::new);
    }

    /// The end, where nothing stops it.
    pub(super) fn conclude(&mut self, result: impl FnOnce() -> String) {
        if self.stop().is_none() {
            self.result = Some(result());
        }
    }

    /// For people.
    pub(super) fn write(&self, out: &mut impl Write, paint: Paint, columns: Option<usize>) -> io::Result<()> {
        writeln!(out, "{}", paint.bold(&wrap(&harmless(&self.title), 2, columns)))?;
        for (number, test) in (1..).zip(&self.tests) {
            let (word, painted) = match test.outcome {
                Outcome::Ok => ("ok", paint.green("ok")),
                Outcome::Note => ("note", paint.yellow("note")),
                Outcome::Stop => ("STOP", paint.red("STOP")),
            };
            let code = test.code.map(|code| format!("{code} ")).unwrap_or_default();
            let text = wrap_from(TEXT, &format!("{code}{}", harmless(&test.evidence)), TEXT, columns);
            let gap = " ".repeat(TEXT - 3 - word.len());
            writeln!(out, "{number:>2} {painted}{gap}{text}")?;
            if let Some(fix) = test.fix.as_ref().filter(|_| test.outcome == Outcome::Note) {
                let text = wrap_from(TEXT, &format!("fix: {}", harmless(fix)), TEXT + 5, columns);
                writeln!(out, "{}{text}", " ".repeat(TEXT))?;
            }
        }
        if let Some(result) = &self.result {
            writeln!(out, "{}", wrap(&harmless(result), 2, columns))?;
        }
        if let Some(fix) = self.stop().and_then(|test| test.fix.as_ref()) {
            writeln!(out, "{}", wrap(&format!("fix: {}", harmless(fix)), 5, columns))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_test_that_fails_is_the_answer() {
        let mut explanation = Explanation::new("request", "7", "job request 7");
        let cause = |stops| Some(Cause { code: Code::Paused, message: "m".into(), fix: Some("f".into()), stops });
        explanation.test(None, || "fine".into());
        explanation.test(cause(false), String::new);
        explanation.test(cause(true), String::new);
        explanation.test(None, || "never looked at".into());
        explanation.conclude(|| "nothing stops it".into());
        let mut out = Vec::new();
        explanation.write(&mut out, Paint::PLAIN, None).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "job request 7\n 1 ok   fine\n 2 note ADO208 m\n        fix: f\n 3 STOP ADO208 m\nfix: f\n");
    }
}
