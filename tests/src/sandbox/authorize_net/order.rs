//! The order of members. Authorize.Net reads JSON as the XML that its schema describes.

use crate::sandbox::shape::{Field, Shape};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// Whether the members of the request, and of what is in it, come in the order of the fields.
pub(super) fn holds(body: &[u8], fields: &'static [Field]) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(body);
    Envelope(fields).deserialize(&mut reader).is_ok()
}

/// An object with one member of any name.
struct Envelope(&'static [Field]);

/// An object whose members come in this order.
struct InOrder(&'static [Field]);

// === impl Envelope ===

impl<'de> DeserializeSeed<'de> for Envelope {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key::<String>()?.is_some() {
            members.next_value_seed(InOrder(self.0))?;
        }
        Ok(())
    }
}

// === impl InOrder ===

impl<'de> DeserializeSeed<'de> for InOrder {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for InOrder {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("members in the order of the schema")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut rest = self.0.iter();
        while let Some(name) = members.next_key::<String>()? {
            let field = rest.find(|field| field.name == name);
            match field.ok_or_else(|| A::Error::custom("out of order"))?.shape {
                Shape::Object(fields) => members.next_value_seed(Self(fields))?,
                Shape::Boolean
                | Shape::Integer
                | Shape::List
                | Shape::Map
                | Shape::Pairs(..)
                | Shape::Text(_)
                | Shape::Words(_)
                | Shape::Word(_) => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::holds;
    use crate::sandbox::shape::{Field, Shape, optional};

    const FIELDS: &[Field] = &[
        optional("a", Shape::Text(9)),
        optional("b", Shape::Object(&[optional("c", Shape::Text(9)), optional("d", Shape::List)])),
        optional("e", Shape::Text(9)),
    ];

    #[test]
    fn members_come_in_their_order_at_every_depth() {
        for (body, expected) in [
            (r#"{"r":{"a":"1","b":{"c":"1","d":[]},"e":"1"}}"#, true),
            (r#"{"r":{"a":"1","e":"1"}}"#, true),
            (r#"{"r":{}}"#, true),
            (r#"{"r":{"e":"1","a":"1"}}"#, false),
            (r#"{"r":{"b":{"d":[],"c":"1"}}}"#, false),
            (r#"{"r":{"a":"1","a":"1"}}"#, false),
        ] {
            assert_eq!(holds(body.as_bytes(), FIELDS), expected, "{body}");
        }
    }
}
