//! Numbers as Kubernetes writes them: quantities such as `250m` and `1Gi`, and spans of time such as `1m30s`.
//! Pure.

/// What a quantity amounts to, in whole units; nothing when it is none, or negative.
pub(super) fn quantity(text: &str) -> Option<f64> {
    let (number, suffix) = leading_number(text.strip_prefix('+').unwrap_or(text))?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => power_of_ten(exponent)?,
    };
    Some(number * factor).filter(|value| value.is_finite())
}

/// The length of a span, in seconds; nothing when it is none.
pub(super) fn seconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let mut rest = text;
    let mut total_s = 0.0;
    loop {
        let (number, after) = leading_number(rest)?;
        let end = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, more) = after.split_at(end);
        let unit_s = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total_s += number * unit_s;
        if more.is_empty() {
            return Some(total_s).filter(|value: &f64| value.is_finite());
        }
        rest = more;
    }
}

/// The digits that a text begins with, and what comes after them.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// `e3` and `E-6`.
fn power_of_ten(exponent: &str) -> Option<f64> {
    let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some(10.0_f64.powi(power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() <= 1e-9 * expected.abs())
    }

    #[test]
    fn quantities_are_read_with_every_suffix() {
        for (text, expected) in [
            ("0", 0.0),
            ("1", 1.0),
            ("12m", 0.012),
            ("1500000n", 0.0015),
            ("100u", 0.0001),
            ("0.5", 0.5),
            (".5", 0.5),
            ("2.", 2.0),
            ("+2", 2.0),
            ("3k", 3_000.0),
            ("1Ki", 1_024.0),
            ("64Mi", 67_108_864.0),
            ("1Gi", 1_073_741_824.0),
            ("1.5Gi", 1_610_612_736.0),
            ("2E", 2e18),
            ("1e3", 1_000.0),
            ("12E-3", 0.012),
        ] {
            assert!(close(quantity(text), expected), "{text}: {:?}", quantity(text));
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in
            ["", "m", "-1", "1x", "1 m", "1mm", "1.2.3", ".", "1e", "e3", "NaN", "inf", "1e999", "1KI"]
        {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn spans_are_read_with_all_their_parts() {
        for (text, expected) in [
            ("30s", 30.0),
            ("15.076s", 15.076),
            ("1m30s", 90.0),
            ("1h0m0.5s", 3_600.5),
            ("500ms", 0.5),
            ("20µs", 2e-5),
            ("20us", 2e-5),
            ("7ns", 7e-9),
            ("0s", 0.0),
            ("0", 0.0),
        ] {
            assert!(close(seconds(text), expected), "{text}: {:?}", seconds(text));
        }
        for text in ["", "s", "10", "1x", "-1s", "1s ", "1m2", "1..s"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_none(text in ".{0,20}") {
            for read in [quantity(&text), seconds(&text)] {
                prop_assert!(read.is_none_or(|value| value.is_finite() && value >= 0.0), "{text}");
            }
        }
    }
}
