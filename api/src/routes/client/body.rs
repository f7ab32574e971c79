//! Bodies in the form of Kabernetes: numbers may be text, and what is empty counts as 0. Pure.

use serde_json::{Map, Value};
use slipway_common::model::autoscaler::RawGains;

use crate::refusal::{ClientRefusal, Refusal};

/// The port of every application of that service.
const PORT: u16 = 5_000;
/// No amount of containers is larger.
const AMOUNT_MAX: f64 = 1e9;
/// Largest constant.
const CONSTANT_MAX: f64 = 1_000.0;

/// A client to start. Numbers may also be text; other attributes are ignored.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a body; bodies are read by `start`")]
pub(crate) struct StartRequest {
    /// The image of its containers.
    #[schema(example = "registry.example.com/shop:1.2")]
    image: String,
    /// The mean CPU use to keep it at, in percent: above 0 and at most 100.
    #[schema(example = 50)]
    cpu_target: f64,
    /// Constants of the controller.
    constants: ConstantsRequest,
    /// The port that the application listens on; 5000 if not given.
    #[schema(nullable = false)]
    port: Option<u16>,
}

/// Constants of the controller, from 0 to 1000; 0 if not given. Numbers may also be text.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a body; bodies are read by `constants`")]
pub(crate) struct ConstantsRequest {
    /// Proportional: containers per percent point of error.
    #[schema(nullable = false)]
    kp: Option<f64>,
    /// Derivative: containers per percent point by which the error fell.
    #[schema(nullable = false)]
    kd: Option<f64>,
    /// Integral: containers per percent point of summed error.
    #[schema(nullable = false)]
    ki: Option<f64>,
}

/// How many containers. A number may also be text, and is cut to a whole one.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a body; bodies are read by `amount`")]
pub(crate) struct AmountRequest {
    /// The amount.
    #[schema(example = 2)]
    amount: f64,
}

/// What is to be started.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Start {
    pub(super) image: String,
    pub(super) cpu_target_percent: f64,
    pub(super) constants: RawGains,
    pub(super) port: u16,
}

/// Reads the body of `POST /client`.
pub(super) fn start(body: &Value) -> Result<Start, Refusal> {
    let bad = || ClientRefusal::BadBody { expected: "['image', 'cpu_target', 'constants']" };
    let members = body.as_object().ok_or_else(bad)?;
    let of = |name: &str| members.get(name).ok_or_else(bad);
    let (image, target, constants) = (of("image")?, of("cpu_target")?, of("constants")?);
    if !constants.is_object() {
        return Err(bad().into());
    }
    let cpu_target_percent = number("cpu_target", target)?;
    if !(f64::MIN_POSITIVE..=100.0).contains(&cpu_target_percent) {
        return Err(Refusal::field("cpu_target", "must be above 0 and at most 100 (percent)"));
    }
    Ok(Start {
        image: image.as_str().ok_or_else(bad)?.to_owned(),
        cpu_target_percent,
        constants: self::constants(constants, "constants.")?,
        port: members.get("port").map_or(Ok(PORT), port)?,
    })
}

/// Reads constants: what is left out or empty is 0. `prefix` leads to them in the body.
pub(super) fn constants(body: &Value, prefix: &str) -> Result<RawGains, Refusal> {
    let none = Map::new();
    let members = if is_empty(body) { Some(&none) } else { body.as_object() };
    let members = members.ok_or(ClientRefusal::BadBody { expected: "['kp', 'kd', 'ki']" })?;
    let read = |name: &'static str| -> Result<f64, Refusal> {
        let Some(given) = members.get(name).filter(|given| !is_empty(given)) else { return Ok(0.0) };
        let constant = number(name, given)?;
        if (0.0..=CONSTANT_MAX).contains(&constant) {
            Ok(constant)
        } else {
            Err(Refusal::field(format!("{prefix}{name}"), "must be from 0 to 1000"))
        }
    };
    Ok(RawGains { kp: read("kp")?, ki: read("ki")?, kd: read("kd")? })
}

/// Reads how many containers to add or remove.
pub(super) fn amount(body: &Value) -> Result<u32, ClientRefusal> {
    let given = body.as_object().and_then(|members| members.get("amount"));
    let given = given.ok_or(ClientRefusal::BadBody { expected: "['amount']" })?;
    let not_numeric = ClientRefusal::NotNumeric { name: "amount" };
    let whole = number("amount", given)?.clamp(-AMOUNT_MAX, AMOUNT_MAX).trunc();
    let whole: i64 = format!("{whole:.0}").parse().map_err(|_| not_numeric)?;
    u32::try_from(whole).map_err(|_| ClientRefusal::Negative { amount: whole })
}

/// What the older service took for nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(given) => !given,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn number(name: &'static str, value: &Value) -> Result<f64, ClientRefusal> {
    let text = value.as_str().and_then(|text| text.trim().parse().ok());
    let number: Option<f64> = value.as_f64().or(text);
    number.filter(|number| number.is_finite()).ok_or(ClientRefusal::NotNumeric { name })
}

fn port(given: &Value) -> Result<u16, Refusal> {
    let number = given.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| Refusal::field("port", "must be from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(refusal: &Refusal) -> String {
        refusal.problem().document().message
    }

    fn refused(body: &Value) -> String {
        told(&start(body).unwrap_err())
    }

    #[test]
    fn numbers_may_be_text_and_what_is_left_out_is_0() {
        let started = start(&json!({ "image": "shop:1", "cpu_target": " 62.5 ", "constants": {} })).unwrap();
        let constants = RawGains { kp: 0.0, ki: 0.0, kd: 0.0 };
        assert_eq!(
            started,
            Start { image: "shop:1".to_owned(), cpu_target_percent: 62.5, constants, port: 5_000 }
        );
        let body = json!({
            "image": "shop:1", "cpu_target": 100, "port": 80, "else": [1],
            "constants": { "kp": "0.5", "ki": null, "kd": false, "kx": "?" }
        });
        let started = start(&body).unwrap();
        assert_eq!((started.port, started.constants), (80, RawGains { kp: 0.5, ki: 0.0, kd: 0.0 }));
    }

    #[test]
    fn a_body_without_its_attributes_is_refused_in_the_old_words() {
        let words = "Bad body format. Expected: ['image', 'cpu_target', 'constants'] attributes.";
        for body in [
            json!(null),
            json!([]),
            json!({}),
            json!({ "image": "a", "cpu_target": 1 }),
            json!({ "image": "a", "constants": {} }),
            json!({ "image": "a", "cpu_target": 1, "constants": null }),
            json!({ "image": 1, "cpu_target": 1, "constants": {} }),
        ] {
            assert_eq!(refused(&body), words, "{body}");
        }
        for body in [json!(1), json!("x"), json!([1])] {
            let words = "Bad body format. Expected: ['kp', 'kd', 'ki'] attributes.";
            assert_eq!(told(&constants(&body, "").unwrap_err()), words, "{body}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_and_named() {
        let with = |target: Value| json!({ "image": "a", "cpu_target": target, "constants": {} });
        for target in
            [json!("high"), json!(null), json!(true), json!("inf"), json!("NaN"), json!([1]), json!("")]
        {
            assert_eq!(refused(&with(target.clone())), "cpu_target must be of a numeric type", "{target}");
        }
        for target in [json!(0), json!(-1), json!(100.1)] {
            assert!(refused(&with(target)).contains("at most 100"));
        }
        let words = told(&constants(&json!({ "kd": "much" }), "").unwrap_err());
        assert_eq!(words, "kd must be of a numeric type");
        for constant in [-0.1, 1_000.1] {
            let refusal = constants(&json!({ "ki": constant }), "constants.").unwrap_err();
            assert_eq!(refusal.problem().document().errors[0].field, "constants.ki");
        }
    }

    #[test]
    fn amounts_are_cut_to_whole_numbers_and_never_negative() {
        for (given, whole) in [
            (json!(2), 2),
            (json!(0), 0),
            (json!(2.9), 2),
            (json!(-0.9), 0),
            (json!("3"), 3),
            (json!(" 3.5 "), 3),
            (json!(1e300), 1_000_000_000),
        ] {
            assert_eq!(amount(&json!({ "amount": given })), Ok(whole), "{given}");
        }
        for (given, words) in [
            (json!({ "amount": -1 }), "Expected a positive number of containers, but got -1"),
            (json!({ "amount": "-2.5" }), "Expected a positive number of containers, but got -2"),
            (json!({ "amount": "two" }), "amount must be of a numeric type"),
            (json!({ "amount": null }), "amount must be of a numeric type"),
            (json!({}), "Bad body format. Expected: ['amount'] attributes."),
            (json!(null), "Bad body format. Expected: ['amount'] attributes."),
            (json!([2]), "Bad body format. Expected: ['amount'] attributes."),
        ] {
            assert_eq!(amount(&given).unwrap_err().to_string(), words, "{given}");
        }
    }
}
