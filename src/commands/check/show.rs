//! Checks as text: under the title of their section, or only what needs somebody.

use std::io::{self, Write};

use super::result::{CheckResult, Outcome, Summary};

/// All of them, and the summary.
pub(in crate::commands) fn table(out: &mut impl Write, results: &[CheckResult]) -> io::Result<()> {
    let mut last = None;
    for result in results {
        if last != Some(result.section) {
            if last.is_some() {
                writeln!(out)?;
            }
            let title = result.section.title();
            writeln!(out, "{title}\n{}", "-".repeat(title.len()))?;
            last = Some(result.section);
        }
        writeln!(out, "{:<6}{}", result.outcome.label(), line(result))?;
        if let Some(fix) = &result.fix {
            writeln!(out, "      fix: {fix}")?;
        }
    }
    if last.is_some() {
        writeln!(out)?;
    }
    writeln!(out, "{}", Summary::of(results))
}

/// Those that need somebody, one a line, and the summary.
pub(in crate::commands) fn short(out: &mut impl Write, results: &[CheckResult]) -> io::Result<()> {
    for result in results.iter().filter(|result| result.outcome >= Outcome::Warning) {
        write!(out, "{:<6}{}: {}", result.outcome.label(), result.section.title(), line(result))?;
        match &result.fix {
            Some(fix) => writeln!(out, "; fix: {fix}")?,
            None => writeln!(out)?,
        }
    }
    writeln!(out, "{}", Summary::of(results))
}

fn line(result: &CheckResult) -> String {
    let code = result.code.map(|code| format!("{code} ")).unwrap_or_default();
    match &result.evidence {
        Some(evidence) => format!("{code}{} ({evidence})", result.message),
        None => format!("{code}{}", result.message),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::result::{Check, Section},
        *,
    };
    use crate::core::Code;

    #[test]
    fn sections_have_titles_and_what_is_wrong_has_its_code_and_its_mend() {
        let dns = Check(Section::AzureDevops, "dns");
        let results = [
            dns.ok("the name resolves").evidence("1.2.3.4"),
            dns.fail(Code::TokenRejected, "no\u{1b}[31m").fix("do this"),
            Check(Section::Cluster, "version").skipped("later"),
        ];
        let mut text = Vec::new();
        table(&mut text, &results).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "azure-devops\n------------\nOK    the name resolves (1.2.3.4)\nFAIL  ADO101 no\\u{1b}[31m\n      fix: do this\n\n\
             cluster\n-------\n-     later\n\n1 passed, 0 warnings, 1 failed, 1 skipped\n"
        );
        let mut text = Vec::new();
        short(&mut text, &results).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "FAIL  azure-devops: ADO101 no\\u{1b}[31m; fix: do this\n1 passed, 0 warnings, 1 failed, 1 skipped\n"
        );
    }
}
