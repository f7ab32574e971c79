//! Values of JSON that may be anything: what is of no use is skipped, not refused, and not kept.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value, as far as it may be of use.
#[derive(Debug, Default)]
pub(in crate::webhook) enum Field {
    /// It is not there.
    #[default]
    Absent,
    /// It is `null`.
    Null,
    /// A text.
    Text(String),
    /// A whole number.
    Number(u64),
    /// `true` or `false`.
    Flag(bool),
    /// An object.
    Object(Box<Object>),
    /// Anything else.
    Other,
}

/// An object within the payload, with the fields that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::webhook) struct Object {
    id: Field,
    iid: Field,
    sha: Field,
}

impl Field {
    /// The text, when it is one and not empty.
    pub(in crate::webhook) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            Self::Text(_)
            | Self::Absent
            | Self::Null
            | Self::Number(_)
            | Self::Flag(_)
            | Self::Object(_)
            | Self::Other => None,
        }
    }

    /// The number, when it is one and not 0. Some senders write numbers as text.
    fn number(&self) -> Option<u64> {
        let number = match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Absent | Self::Null | Self::Flag(_) | Self::Object(_) | Self::Other => None,
        };
        number.filter(|number| *number > 0)
    }

    fn object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Absent | Self::Null | Self::Text(_) | Self::Number(_) | Self::Flag(_) | Self::Other => None,
        }
    }

    /// The text `id` of the object.
    pub(in crate::webhook) fn id(&self) -> Option<&str> {
        self.object()?.id.text()
    }

    /// The number `iid` of the object.
    pub(in crate::webhook) fn iid(&self) -> Option<u64> {
        self.object()?.iid.number()
    }

    /// The text `sha` of the object.
    pub(in crate::webhook) fn sha(&self) -> Option<&str> {
        self.object()?.sha.text()
    }

    /// Whether it is there and `null`.
    pub(in crate::webhook) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether it is `true`.
    pub(in crate::webhook) fn is_true(&self) -> bool {
        matches!(self, Self::Flag(true))
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Field, E> {
        Ok(Field::Flag(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field, E> {
        Ok(Field::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Field, E> {
        Ok(Field::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Field, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Field, A::Error> {
        let object = Object::deserialize(MapAccessDeserializer::new(entries))?;
        Ok(Field::Object(Box::new(object)))
    }
}
