//! Lists on the wire, read element by element while their bytes come in.
//!
//! A list of a thousand agents is many megabytes of JSON. Neither its bytes nor its parsed form ever stand in memory as a
//! whole: [`Elements`] cuts each element out of the bytes, turns it into the model and forgets it. What is left of the
//! list, with a `0` in the place of each element, is its skeleton; by it the list is checked as JSON.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::intake::{Intake, TooLong, Unusable};

/// The most bytes of one element: an agent with all its capabilities has some 10 KiB.
const LONGEST_ELEMENT: usize = 1024 * 1024;

/// The most bytes of the skeleton: two for each element.
const LONGEST_SKELETON: usize = 512 * 1024;

/// The most bytes of a list: 10,000 finished job requests are some 15 MiB. They are read, not kept.
const LONGEST_LIST: usize = 64 * 1024 * 1024;

/// Something on the wire that becomes something of ours, or is of no interest.
pub(super) trait Wire: DeserializeOwned {
    /// What it becomes.
    type Model;

    /// `Ok(None)` where it is of no interest, an error where it cannot be understood.
    fn into_model(self) -> Result<Option<Self::Model>, &'static str>;

    /// By which number it is known. Elements with the same number are one element.
    fn number(_: &Self::Model) -> Option<i64> {
        None
    }

    /// Which of two elements with the same number stays.
    fn merge(_kept: &mut Self::Model, _other: Self::Model) {}
}

/// Each element once, in the order of the first time it occurs: a list may say an element twice, above all across pages.
pub(super) fn without_duplicates<T: Wire>(models: Vec<T::Model>) -> Vec<T::Model> {
    let mut places = HashMap::new();
    let mut kept: Vec<T::Model> = Vec::with_capacity(models.len());
    for model in models {
        let entry = T::number(&model).map(|number| places.entry(number));
        match entry {
            Some(Entry::Occupied(place)) => T::merge(&mut kept[*place.get()], model),
            Some(Entry::Vacant(place)) => {
                place.insert(kept.len());
                kept.push(model);
            }
            None => kept.push(model),
        }
    }
    kept
}

/// Takes in a list in either shape, `{"count": 1, "value": […]}` or `[…]`. Anything else is unusable, above all an object
/// without `value`, an element that cannot be read, and a count that is not the number of elements.
pub(super) struct Elements<T: Wire> {
    models: Vec<T::Model>,
    /// What is done to each of them as soon as it is read.
    each: Option<Each<T::Model>>,
    read: usize,
    /// Bytes of the element that is being read.
    element: Vec<u8>,
    skeleton: Vec<u8>,
    taken: usize,
    at: Place,
    /// Open brackets.
    depth: usize,
    /// The depth of the list's own bracket, while we are in it.
    list: Option<usize>,
    in_text: bool,
    escaped: bool,
    /// The last text outside of the list, which may be a field's name.
    text: Vec<u8>,
}

/// What is done to an element as soon as it is read.
pub(super) type Each<M> = Arc<dyn Fn(&mut M) + Send + Sync>;

/// Where in the list the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    BetweenElements,
    /// In an object, an array or a text.
    InElement,
    /// In a number, `true`, `false` or `null`, which end without a sign of their own.
    InScalar,
}

impl<T: Wire> Default for Elements<T> {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            each: None,
            read: 0,
            element: Vec::new(),
            skeleton: Vec::new(),
            taken: 0,
            at: Place::Outside,
            depth: 0,
            list: None,
            in_text: false,
            escaped: false,
            text: Vec::new(),
        }
    }
}

impl<T: Wire> Elements<T> {
    pub(super) fn each(each: Option<Each<T::Model>>) -> Self {
        Self { each, ..Self::default() }
    }

    fn byte(&mut self, byte: u8) -> Result<(), Unusable> {
        match self.at {
            Place::Outside => self.outside(byte)?,
            Place::BetweenElements => self.between(byte)?,
            Place::InElement => {
                self.element.push(byte);
                let was_text = self.in_text;
                self.track(byte);
                let is_over = if was_text { !self.in_text } else { matches!(byte, b']' | b'}') };
                if is_over && Some(self.depth) == self.list {
                    self.finish_element()?;
                }
            }
            Place::InScalar if matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n') => {
                self.finish_element()?;
                self.between(byte)?;
            }
            Place::InScalar => self.element.push(byte),
        }
        if self.element.len() > LONGEST_ELEMENT {
            return Err(TooLong("an element of a list", LONGEST_ELEMENT).into());
        }
        if self.skeleton.len() > LONGEST_SKELETON {
            return Err(TooLong("a list without its elements", LONGEST_SKELETON).into());
        }
        Ok(())
    }

    fn outside(&mut self, byte: u8) -> Result<(), Unusable> {
        let was_text = self.in_text;
        if was_text {
            self.text.push(byte);
        } else if byte == b'"' {
            self.text.clear();
        }
        let is_value = self.depth == 1 && self.text == b"value\"" && self.skeleton.first() == Some(&b'{');
        let is_bare = self.depth == 0 && self.skeleton.trim_ascii().is_empty();
        let begins = byte == b'[' && !was_text && (is_bare || is_value) && self.list.is_none();
        self.track(byte);
        // One blank between tokens tells as much as many.
        if was_text || !byte.is_ascii_whitespace() || self.skeleton.last().is_some_and(|last| *last != b' ') {
            self.skeleton.push(if was_text || !byte.is_ascii_whitespace() { byte } else { b' ' });
        }
        if begins {
            self.list = Some(self.depth);
            self.at = Place::BetweenElements;
        }
        Ok(())
    }

    fn between(&mut self, byte: u8) -> Result<(), Unusable> {
        self.at = Place::BetweenElements;
        match byte {
            b',' => self.skeleton.push(byte),
            b']' => {
                self.track(byte);
                self.skeleton.push(byte);
                self.text.clear();
                self.at = Place::Outside;
                // No second list in the same answer is looked for.
                self.list = Some(usize::MAX);
            }
            byte if byte.is_ascii_whitespace() => {}
            b'}' | b':' => return Err(Unusable::Unreadable("a list that ends in the middle of itself".to_owned())),
            byte => {
                self.element.push(byte);
                self.track(byte);
                self.at = if matches!(byte, b'{' | b'[' | b'"') { Place::InElement } else { Place::InScalar };
            }
        }
        Ok(())
    }

    /// Brackets and texts, so that a bracket in a text is none.
    fn track(&mut self, byte: u8) {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn finish_element(&mut self) -> Result<(), Unusable> {
        let place = self.read;
        let unreadable =
            |why: &dyn std::fmt::Display| Unusable::Unreadable(format!("element {place} of the list: {why}"));
        let element: T = serde_json::from_slice(&self.element).map_err(|error| unreadable(&error))?;
        if let Some(mut model) = element.into_model().map_err(|why| unreadable(&why))? {
            if let Some(each) = &self.each {
                each(&mut model);
            }
            self.models.push(model);
        }
        self.element.clear();
        self.read += 1;
        self.skeleton.push(b'0');
        self.at = Place::BetweenElements;
        Ok(())
    }
}

impl<T: Wire> Intake for Elements<T> {
    type Content = Vec<T::Model>;

    fn take(&mut self, bytes: &[u8]) -> Result<(), Unusable> {
        self.taken += bytes.len();
        if self.taken > LONGEST_LIST {
            return Err(TooLong("an answer", LONGEST_LIST).into());
        }
        bytes.iter().try_for_each(|&byte| self.byte(byte))
    }

    fn kept(&self) -> &[u8] {
        &self.skeleton
    }

    fn content(self) -> Result<Vec<T::Model>, Unusable> {
        let unreadable = |why: String| Err(Unusable::Unreadable(why));
        let (elements, count) = match serde_json::from_slice(&self.skeleton)? {
            Value::Array(elements) => (elements, Value::Null),
            Value::Object(mut fields) => match fields.remove("value") {
                Some(Value::Array(elements)) => (elements, fields.remove("count").unwrap_or_default()),
                Some(_) => return unreadable("\"value\" is no list".to_owned()),
                None => return unreadable("a list without \"value\"".to_owned()),
            },
            _ => return unreadable("no list".to_owned()),
        };
        if elements.len() != self.read || elements.iter().any(|element| *element != 0) {
            return unreadable("a list whose elements do not stand in \"value\"".to_owned());
        }
        if !count.is_null() && count != elements.len() {
            return unreadable(format!("a list of {} elements whose count is {count}", elements.len()));
        }
        Ok(without_duplicates::<T>(self.models))
    }
}
