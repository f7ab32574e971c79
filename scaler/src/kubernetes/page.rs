//! A part of a list, as the API server answers it: its objects are taken one by one while it is read, so that never more
//! than one of them is held besides the text.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// Gives every object of a page to `each`. Answers how the list goes on: empty when this was all.
///
/// # Errors
/// When the text is no page of such objects; those before the fault were given.
pub(super) fn read<T: DeserializeOwned>(text: &str, each: &mut impl FnMut(T)) -> serde_json::Result<String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let token = Page { each, kind: PhantomData }.deserialize(&mut json)?;
    json.end()?;
    Ok(token)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    #[serde(rename = "continue")]
    token: String,
}

/// The page itself.
struct Page<'a, T, F> {
    each: &'a mut F,
    kind: PhantomData<T>,
}

impl<'de, T: DeserializeOwned, F: FnMut(T)> DeserializeSeed<'de> for Page<'_, T, F> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: DeserializeOwned, F: FnMut(T)> Visitor<'de> for Page<'_, T, F> {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let (mut token, mut has_items) = (String::new(), false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "metadata" => token = map.next_value::<PageMetadata>()?.token,
                "items" => {
                    has_items = true;
                    map.next_value_seed(Items { each: &mut *self.each, kind: PhantomData })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        // An answer without objects says so.
        if has_items { Ok(token) } else { Err(A::Error::missing_field("items")) }
    }
}

/// Its objects; there may be none, which is said by `null` as well.
struct Items<'a, T, F> {
    each: &'a mut F,
    kind: PhantomData<T>,
}

impl<'de, T: DeserializeOwned, F: FnMut(T)> DeserializeSeed<'de> for Items<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T: DeserializeOwned, F: FnMut(T)> Visitor<'de> for Items<'_, T, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("objects")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut objects: A) -> Result<(), A::Error> {
        while let Some(object) = objects.next_element()? {
            (self.each)(object);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::Deployment;
    use super::*;

    fn names(text: &str) -> serde_json::Result<(Vec<String>, String)> {
        let mut names = Vec::new();
        let token = read(text, &mut |found: Deployment| names.push(found.metadata.name))?;
        Ok((names, token))
    }

    #[test]
    fn a_page_may_be_empty_and_may_be_followed_by_another() {
        assert_eq!(names(r#"{"items": null}"#).unwrap(), (Vec::new(), String::new()));
        let last = r#"{"metadata": {"resourceVersion": "4"}, "items": [{"metadata": {"name": "a"}}]}"#;
        assert_eq!(names(last).unwrap(), (vec!["a".to_owned()], String::new()));
        let before = r#"{"kind": "L", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}],
            "metadata": {"continue": "c"}}"#;
        assert_eq!(names(before).unwrap(), (vec!["a".to_owned(), "b".to_owned()], "c".to_owned()));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in
            ["", "[]", "{}", r#"{"items": 3}"#, r#"{"items": [3]}"#, r#"{"items": []} x"#, r#"{"items": ["#]
        {
            assert!(names(text).is_err(), "{text}");
        }
    }
}
