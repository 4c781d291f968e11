//! Lists on the wire, which come in two shapes.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Something on the wire that becomes something of ours, or is of no interest.
pub(super) trait Wire: DeserializeOwned {
    type Model;
    fn into_model(self) -> Option<Self::Model>;
}

/// A list in either shape, `{"count": 1, "value": […]}` or `[…]`. Each element is turned into the model as it is read,
/// so that thousands of finished job requests never stand in memory side by side. Anything else is an error, above all
/// an object without `value`.
pub(super) struct List<T: Wire>(pub(super) Vec<T::Model>);

impl<'de, T: Wire> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor { wrapped: true, of: PhantomData })
    }
}

struct ListVisitor<T> {
    wrapped: bool,
    of: PhantomData<T>,
}

impl<'de, T: Wire> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<List<T>, A::Error> {
        let mut models = Vec::new();
        while let Some(element) = elements.next_element::<T>()? {
            models.extend(element.into_model());
        }
        Ok(List(models))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<List<T>, A::Error> {
        if !self.wrapped {
            return Err(A::Error::custom("\"value\" is no list"));
        }
        let mut list = None;
        while let Some(name) = fields.next_key::<String>()? {
            if name == "value" {
                list = Some(fields.next_value::<Bare<T>>()?.0);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        list.ok_or_else(|| A::Error::missing_field("value"))
    }
}

/// The list inside the object.
struct Bare<T: Wire>(List<T>);

impl<'de, T: Wire> Deserialize<'de> for Bare<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor { wrapped: false, of: PhantomData }).map(Self)
    }
}
