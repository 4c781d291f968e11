//! Label and field selectors, as far as anybody here writes them: `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (b,c)`.

use serde_json::Value;

/// Both selectors of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Term>,
    fields: Vec<Term>,
}

#[derive(Clone, Debug)]
enum Term {
    OneOf(String, Vec<String>),
    NoneOf(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    pub(crate) fn of(query: &super::resource::Query) -> Self {
        let terms = |name| query.get(name).map(terms).unwrap_or_default();
        Self { labels: terms("labelSelector"), fields: terms("fieldSelector") }
    }

    /// Selects the one object of this name.
    pub(crate) fn add_name(&mut self, name: &str) {
        self.fields.push(Term::OneOf("metadata.name".to_owned(), vec![name.to_owned()]));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let field = |path: &str| path.split('.').fold(object, |value, part| &value[part]).as_str();
        self.labels.iter().all(|term| term.holds(|key| labels[key].as_str()))
            // A field that is not there is as good as empty.
            && self.fields.iter().all(|term| term.holds(|path| Some(field(path).unwrap_or_default())))
    }
}

impl Term {
    fn holds<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        let among =
            |key: &str, values: &[String]| value(key).is_some_and(|value| values.iter().any(|one| one == value));
        match self {
            Self::OneOf(key, values) => among(key, values),
            Self::NoneOf(key, values) => !among(key, values),
            Self::Exists(key) => value(key).is_some(),
            Self::Absent(key) => value(key).is_none(),
        }
    }
}

fn terms(text: &str) -> Vec<Term> {
    let mut depth = 0;
    let outside = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    text.split(outside).map(|part| term(part.trim())).collect()
}

fn term(text: &str) -> Term {
    let own = |text: &str| text.trim().to_owned();
    let values = |list: &str| list.trim().trim_matches(['(', ')']).split(',').map(own).collect();
    if let Some((key, list)) = text.split_once(" notin ") {
        return Term::NoneOf(own(key), values(list));
    }
    if let Some((key, list)) = text.split_once(" in ") {
        return Term::OneOf(own(key), values(list));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Term::NoneOf(own(key), vec![own(value)]);
    }
    if let Some((key, value)) = text.split_once('=') {
        return Term::OneOf(own(key), vec![own(value.trim_start_matches('='))]);
    }
    match text.strip_prefix('!') {
        Some(key) => Term::Absent(own(key)),
        None => Term::Exists(own(text)),
    }
}

#[test]
fn selectors_mean_what_they_mean_to_kubectl() {
    let job = serde_json::json!({"metadata": {"name": "j", "labels": {"a": "1", "b": "2"}}, "type": "Warning"});
    let matches = |labels: &str, fields: &str| Selector { labels: terms(labels), fields: terms(fields) }.matches(&job);
    for labels in ["a=1", "a==1,b=2", "a,!c", "a in (3, 1),b notin (3)", "a!=2", "c!=1"] {
        assert!(matches(labels, "metadata.name=j,type!=Normal"), "{labels}");
    }
    for labels in ["a=2", "c", "!a", "a in (2,3)", "a!=1"] {
        assert!(!matches(labels, "metadata.name=j"), "{labels}");
    }
    assert!(!matches("a", "metadata.name=other"));
}
