//! Demands and capabilities, matched as Azure DevOps matches them: names and the values of `-equals` regardless of
//! case, `-gtVersion` as "at least", part by part. Source: Microsoft's documentation of demands and observed use.

use std::{borrow::Cow, collections::BTreeMap, fmt};

/// The capability that names one agent: a demand for it pins the job request to that agent.
const AGENT_NAME: &str = "agent.name";

/// Capabilities with this prefix are reported by every agent itself; no template has to declare them.
const AGENT_PREFIX: &str = "agent.";

/// One demand of a job request, for example `docker` or `Agent.OS -equals Linux`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Demand {
    /// The capability asked for, as it was written.
    pub name: String,
    /// What its value has to be.
    pub test: DemandTest,
}

/// What a demand asks of the capability's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DemandTest {
    /// Any value will do.
    Exists,
    /// The same text, regardless of case.
    Equals(String),
    /// At least this version, compared number by number.
    AtLeast(String),
    /// An operator that we do not know (its name and value). It never keeps a job request from an agent.
    Unknown(String, String),
}

impl Demand {
    /// Reads a demand as it stands on the wire. Every text is a demand; at worst one with an unknown operator.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let Some((name, rest)) = text.split_once(char::is_whitespace) else {
            return Self { name: text.to_owned(), test: DemandTest::Exists };
        };
        let rest = rest.trim_start();
        let (operator, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let value = value.trim().to_owned();
        let test = match operator.to_ascii_lowercase().as_str() {
            "" => DemandTest::Exists,
            "-equals" => DemandTest::Equals(value),
            "-gtversion" => DemandTest::AtLeast(value),
            _ => DemandTest::Unknown(operator.to_owned(), value),
        };
        Self { name: name.to_owned(), test }
    }

    /// Whether only one certain agent can satisfy it.
    #[must_use]
    pub fn pins_an_agent(&self) -> bool {
        self.name.eq_ignore_ascii_case(AGENT_NAME) && matches!(self.test, DemandTest::Equals(_))
    }

    fn accepts(&self, value: &str) -> bool {
        match &self.test {
            DemandTest::Exists | DemandTest::Unknown(..) => true,
            DemandTest::Equals(wanted) => value.to_lowercase() == wanted.to_lowercase(),
            DemandTest::AtLeast(wanted) => version(value) >= version(wanted),
        }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            DemandTest::Exists => f.write_str(&self.name),
            DemandTest::Equals(value) => write!(f, "{} -equals {value}", self.name),
            DemandTest::AtLeast(value) => write!(f, "{} -gtVersion {value}", self.name),
            DemandTest::Unknown(operator, value) => write!(f, "{} {operator} {value}", self.name),
        }
    }
}

/// The text in lower case; itself where it is that already, which names mostly are.
pub(super) fn lower_case(text: &str) -> Cow<'_, str> {
    // To the end rather than to the first that is not: names mostly are, and so many bytes are looked at at once.
    let is_lower_case = text.bytes().fold(true, |all, byte| all & byte.is_ascii() & !byte.is_ascii_uppercase());
    if is_lower_case { Cow::Borrowed(text) } else { Cow::Owned(text.to_lowercase()) }
}

/// A version's numbers without trailing zeros, so that `2.1` and `2.1.0` are the same one.
fn version(text: &str) -> Vec<u64> {
    let number = |part: &str| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    let mut parts: Vec<u64> = text.trim().split('.').map(number).collect();
    while parts.last() == Some(&0) {
        parts.pop();
    }
    parts
}

/// What an agent offers: names (regardless of case, but kept as they were written) and values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capabilities(BTreeMap<String, (String, String)>);

impl Capabilities {
    /// Whether a registered agent with exactly these capabilities satisfies the demand.
    #[must_use]
    pub fn satisfy(&self, demand: &Demand) -> bool {
        self.get(&demand.name).is_some_and(|value| demand.accepts(value))
    }

    /// Whether an agent that is still to be started from a template with these declared capabilities will satisfy
    /// the demand: what every agent reports of itself (`Agent.Version` and the like) is taken as given unless it is
    /// declared.
    #[must_use]
    pub fn will_satisfy(&self, demand: &Demand) -> bool {
        match self.get(&demand.name) {
            Some(value) => demand.accepts(value),
            None => {
                let name = demand.name.to_lowercase();
                name.starts_with(AGENT_PREFIX) && name != AGENT_NAME
            }
        }
    }

    /// The value of a capability, by its name in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_lower_case(&lower_case(name))
    }

    /// As [`Self::get`], by a name in lower case.
    pub(super) fn get_lower_case(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(_, value)| value.as_str())
    }

    /// Adds a capability unless there is one of that name.
    pub fn add_default(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_lowercase()).or_insert_with(|| (name.to_owned(), value.to_owned()));
    }

    /// Adds a capability in the place of one of that name.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_lowercase(), (name.to_owned(), value.to_owned()));
    }

    /// Takes a capability away.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(&name.to_lowercase());
    }

    /// All names and values, in the order of the lower-case names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.values().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Capabilities {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let entry = |(name, value): (N, V)| (name.as_ref().to_lowercase(), (name.as_ref().to_owned(), value.into()));
        Self(pairs.into_iter().map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(pairs: &[(&str, &str)]) -> Capabilities {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_demand_is_read_as_azure_devops_writes_it() {
        for (text, name, test) in [
            ("docker", "docker", DemandTest::Exists),
            ("Agent.OS -equals Linux", "Agent.OS", DemandTest::Equals("Linux".into())),
            ("msbuild  -equals  Visual Studio 2022", "msbuild", DemandTest::Equals("Visual Studio 2022".into())),
            ("Agent.Version -gtVersion 2.163.1", "Agent.Version", DemandTest::AtLeast("2.163.1".into())),
            ("memory -lt 4", "memory", DemandTest::Unknown("-lt".into(), "4".into())),
            ("  spaced  ", "spaced", DemandTest::Exists),
        ] {
            assert_eq!(Demand::parse(text), Demand { name: name.into(), test }, "{text}");
        }
    }

    #[test]
    fn names_and_equal_values_match_regardless_of_case() {
        let offer = offered(&[("DOCKER", "/usr/bin/docker"), ("Team", "Build A")]);
        assert!(offer.satisfy(&Demand::parse("docker")));
        assert!(offer.satisfy(&Demand::parse("team -equals bUILD a")));
        assert!(!offer.satisfy(&Demand::parse("team -equals build")));
        assert!(!offer.satisfy(&Demand::parse("gpu")));
    }

    #[test]
    fn a_version_is_compared_number_by_number_and_equal_is_enough() {
        for (have, want, fits) in [
            ("2.163.1", "2.163.1", true),
            ("2.1630.0", "2.163.1", true),
            ("2.99.9", "2.163.1", false),
            ("4.260", "4.260.0", true),
            ("10.0", "9.9.9", true),
            ("4.260.0-preview", "4.260.0", true),
            ("", "1", false),
        ] {
            let offer = offered(&[("Agent.Version", have)]);
            assert_eq!(
                offer.satisfy(&Demand::parse(&format!("Agent.Version -gtVersion {want}"))),
                fits,
                "{have} {want}"
            );
        }
    }

    #[test]
    fn a_template_need_not_declare_what_every_agent_reports() {
        let declared = offered(&[("gpu", "true"), ("Agent.OS", "Linux")]);
        assert!(declared.will_satisfy(&Demand::parse("Agent.Version -gtVersion 3.0")));
        assert!(!declared.will_satisfy(&Demand::parse("Agent.OS -equals Windows_NT")));
        assert!(!declared.will_satisfy(&Demand::parse("Agent.Name -equals build-7")));
        assert!(!declared.will_satisfy(&Demand::parse("cuda")));
    }
}
