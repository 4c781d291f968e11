//! Demands and capabilities, matched as Azure DevOps matches them: names and the values of `-equals` regardless of
//! case, `-gtVersion` as "at least", part by part. Source: Microsoft's documentation of demands and observed use.

use std::{borrow::Cow, cmp::Ordering, fmt, sync::Arc};

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

/// A version as .NET's `System.Version` reads it, which is what Azure DevOps compares: two to four numbers, without what
/// follows a `-`. A missing number is less than 0. What is no such version, one number alone for instance, is `None`, and
/// less than all versions.
fn version(text: &str) -> Option<[i64; 4]> {
    let text = text.split_once('-').map_or(text, |(version, _)| version).trim();
    let parts: Vec<i64> = text
        .split('.')
        .map(|part| part.trim().parse::<i32>().ok().filter(|part| *part >= 0).map(i64::from))
        .collect::<Option<_>>()?;
    if !(2..=4).contains(&parts.len()) {
        return None;
    }
    let mut version = [-1; 4];
    version[..parts.len()].copy_from_slice(&parts);
    Some(version)
}

/// What an agent offers: names (regardless of case, but kept as they were written) and values.
///
/// A thousand agents of a hundred capabilities each are some 7 MiB of text, and they are held by whoever looks at the agents. So
/// all text is in one piece, which clones share.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capabilities(Arc<Packed>);

/// Pairs in the order of their names in lower case, each name once.
#[derive(Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Packed {
    /// All names and values, one after the other.
    text: Box<str>,
    /// Where each name ends, and where the value after it does.
    ends: Box<[(u32, u32)]>,
}

impl Packed {
    /// The pairs are in order.
    fn of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        let length = pairs.clone().map(|(name, value)| name.len() + value.len()).sum();
        let mut text = String::with_capacity(length);
        let mut ends = Vec::with_capacity(pairs.size_hint().0);
        let place = |text: &String| u32::try_from(text.len()).unwrap_or(u32::MAX);
        for (name, value) in pairs {
            // Far more than an answer of Azure DevOps may have in all.
            if text.len() + name.len() + value.len() > u32::MAX as usize {
                break;
            }
            text.push_str(name);
            let end = place(&text);
            text.push_str(value);
            ends.push((end, place(&text)));
        }
        Self { text: text.into(), ends: ends.into() }
    }

    fn pair(&self, index: usize) -> (&str, &str) {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1 as usize);
        let (name, value) = self.ends[index];
        (&self.text[start..name as usize], &self.text[name as usize..value as usize])
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        (0..self.ends.len()).map(|index| self.pair(index))
    }

    /// The place of a name, which is given in lower case, or else where it belongs.
    fn find(&self, name: &str) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match in_lower_case(self.pair(middle).0, name) {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

/// How a name in lower case compares with a text that is in lower case.
fn in_lower_case(name: &str, other: &str) -> Ordering {
    if name.is_ascii() {
        name.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(other.bytes())
    } else {
        name.to_lowercase().as_str().cmp(other)
    }
}

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
        self.0.find(name).ok().map(|index| self.0.pair(index).1)
    }

    /// Adds a capability unless there is one of that name.
    pub fn add_default(&mut self, name: &str, value: &str) {
        if let Err(index) = self.0.find(&lower_case(name)) {
            self.splice(index, 0, Some((name, value)));
        }
    }

    /// Adds a capability in the place of one of that name.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.0.find(&lower_case(name)) {
            Ok(index) => self.splice(index, 1, Some((name, value))),
            Err(index) => self.splice(index, 0, Some((name, value))),
        }
    }

    /// Takes a capability away.
    pub fn remove(&mut self, name: &str) {
        if let Ok(index) = self.0.find(&lower_case(name)) {
            self.splice(index, 1, None);
        }
    }

    /// All names and values, in the order of the lower-case names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.pairs()
    }

    /// Puts a pair in the place of so many that are there.
    fn splice(&mut self, at: usize, gone: usize, new: Option<(&str, &str)>) {
        let pairs = || self.0.pairs();
        let packed = Packed::of(pairs().take(at).chain(new).chain(pairs().skip(at + gone)));
        self.0 = Arc::new(packed);
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Capabilities {
    /// Of several pairs of one name the last one stays.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<(N, String)> = pairs.into_iter().map(|(name, value)| (name, value.into())).collect();
        let order =
            |one: &(N, String), other: &(N, String)| in_lower_case(one.0.as_ref(), &lower_case(other.0.as_ref()));
        pairs.sort_by(order);
        let last =
            |index: &usize| pairs.get(index + 1).is_none_or(|next| order(&pairs[*index], next) != Ordering::Equal);
        let kept: Vec<usize> = (0..pairs.len()).filter(last).collect();
        Self(Arc::new(Packed::of(kept.iter().map(|&index| (pairs[index].0.as_ref(), pairs[index].1.as_str())))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Packed, they are what a map by the lower-case names is.
        #[test]
        fn capabilities_are_a_map_by_names_in_any_case(
            steps in prop::collection::vec((0u8..4, "[aAbB_0ÄäßİZ.]{0,3}", "[xY]{0,2}"), 0..24),
        ) {
            let mut map = BTreeMap::new();
            let given: Vec<_> = steps.iter().take(8).map(|(_, name, value)| (name.clone(), value.clone())).collect();
            map.extend(given.iter().map(|(name, value)| (name.to_lowercase(), (name.clone(), value.clone()))));
            let mut packed: Capabilities = given.into_iter().collect();
            for (step, name, value) in steps.into_iter().skip(8) {
                let (key, pair) = (name.to_lowercase(), (name.clone(), value.clone()));
                let before = packed.clone();
                match step {
                    0 => drop(map.insert(key, pair)),
                    1 => drop(map.entry(key).or_insert(pair)),
                    _ => drop(map.remove(&key)),
                }
                match step {
                    0 => packed.set(&name, &value),
                    1 => packed.add_default(&name, &value),
                    _ => packed.remove(&name),
                }
                prop_assert_eq!(before.get(&name).is_some(), before.iter().any(|(other, _)| other.to_lowercase() == name.to_lowercase()));
                prop_assert_eq!(packed.get(&name.to_uppercase().to_lowercase()), map.get(&name.to_uppercase().to_lowercase()).map(|(_, value)| value.as_str()));
            }
            let expected: Vec<_> = map.values().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(expected.into_iter().collect::<Capabilities>(), packed);
        }
    }

    #[test]
    fn a_version_is_compared_as_dot_net_does_and_equal_is_enough() {
        for (have, want, fits) in [
            ("2.163.1", "2.163.1", true),
            ("2.1630.0", "2.163.1", true),
            ("2.99.9", "2.163.1", false),
            ("4.260", "4.260.0", false),
            ("4.260.0", "4.260", true),
            ("10.0", "9.9.9", true),
            ("4.260.0-preview", "4.260.0", true),
            ("1.2.3.4", "1.2.3", true),
            // What is no version is less than each one, and not less than another that is none.
            ("8", "16", true),
            ("", "1", true),
            ("", "1.0", false),
            ("12", "12.4", false),
            ("12.4", "12", true),
            ("1.2.3.4.5", "1.2", false),
            ("four.2", "4.1", false),
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
