//! An object in a merge patch (RFC 7396): what it does not name stays as it was, what it sets to `null` gets its default.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// What is to change of a `T`, whose fields hold no objects themselves.
#[derive(Clone, Default)]
pub struct Partial<T> {
    fields: Map<String, Value>,
    of: PhantomData<T>,
}

/// The names of the fields alone: values may be secret.
impl<T> fmt::Debug for Partial<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.fields.keys()).finish()
    }
}

impl<T: Serialize + DeserializeOwned + Default> Partial<T> {
    /// `before`, or else what is there by default, with what changes.
    #[must_use]
    pub fn over(&self, before: Option<T>) -> T {
        let mut all = object(&before.unwrap_or_default());
        for (name, value) in &self.fields {
            if value.is_null() {
                all.remove(name);
            } else {
                all.insert(name.clone(), value.clone());
            }
        }
        // Each field was read as one of a `T` before, by itself.
        serde_json::from_value(Value::Object(all)).unwrap_or_default()
    }
}

/// Everything that is given of a `T` changes.
impl<T: Serialize> From<&T> for Partial<T> {
    fn from(wanted: &T) -> Self {
        Self { fields: object(wanted), of: PhantomData }
    }
}

fn object(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) | Err(_) => {
            Map::new()
        }
    }
}

impl<T> Serialize for Partial<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Partial<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Map::deserialize(deserializer)?;
        let mut given = fields.clone();
        given.retain(|_, value| !value.is_null());
        serde_json::from_value::<T>(Value::Object(given)).map_err(D::Error::custom)?;
        Ok(Self { fields, of: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{NotifyRequest, ReviewRequest};
    use super::*;

    fn over(patch: Value, before: Option<ReviewRequest>) -> Value {
        let patch: Partial<ReviewRequest> = serde_json::from_value(patch).unwrap();
        serde_json::to_value(patch.over(before)).unwrap()
    }

    #[test]
    fn what_is_named_changes_and_what_is_null_goes() {
        let before = ReviewRequest {
            paths: vec!["app/**".to_owned()],
            ttl_h: Some(9),
            forks: Some(true),
            ..ReviewRequest::default()
        };
        let after = over(json!({ "ttl_h": 24, "forks": null }), Some(before));
        assert_eq!(after, json!({ "paths": ["app/**"], "ttl_h": 24 }));
        assert_eq!(over(json!({ "ttl_h": 24 }), None), json!({ "ttl_h": 24 }));
        assert_eq!(over(json!({}), None), json!({}));
    }

    #[test]
    fn it_is_sent_as_it_was_meant() {
        let wanted = ReviewRequest { ttl_h: Some(9), ..ReviewRequest::default() };
        assert_eq!(serde_json::to_value(Partial::from(&wanted)).unwrap(), json!({ "ttl_h": 9 }));
        let read: Partial<ReviewRequest> = serde_json::from_value(json!({ "forks": null })).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), json!({ "forks": null }));
    }

    #[test]
    fn it_shows_no_values() {
        let hook = json!({ "webhooks": [{ "url": "https://a.example", "secret": "whsec_CANARY" }] });
        let read: Partial<NotifyRequest> = serde_json::from_value(hook).unwrap();
        assert_eq!(format!("{read:?}"), r#"{"webhooks"}"#);
    }

    #[test]
    fn what_is_no_field_or_of_another_kind_is_refused() {
        for bad in [json!({ "ttl": 9 }), json!({ "ttl_h": "9" }), json!([]), json!(7)] {
            assert!(serde_json::from_value::<Partial<ReviewRequest>>(bad.clone()).is_err(), "{bad}");
        }
    }
}
