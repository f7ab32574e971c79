//! The order of tags by their versions: `v1.10.0` comes after `v1.9.0`, and a release after what was published ahead of
//! it, such as `v1.10.0-rc1`. Pure.

use std::cmp::Ordering;

/// How two names of tags compare, the later version being greater.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    by_parts(left, right).then_with(|| left.cmp(right))
}

/// Compares what stands before the first hyphen; where that is the same, nothing behind it is later than something.
fn by_parts(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (Some(left), Some(right));
    loop {
        let (Some(mine), Some(other)) = (left, right) else {
            return left.is_none().cmp(&right.is_none());
        };
        let (first, rest) = split(mine);
        let (other_first, other_rest) = split(other);
        match natural(first, other_first) {
            Ordering::Equal => (left, right) = (rest, other_rest),
            unequal @ (Ordering::Less | Ordering::Greater) => return unequal,
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once('-').map_or((text, None), |(first, rest)| (first, Some(rest)))
}

/// Digits compare as numbers, everything else as text.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        match (left.first(), right.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(mine), Some(other)) if mine.is_ascii_digit() && other.is_ascii_digit() => {
                let (number, rest) = leading_number(left);
                let (other_number, other_rest) = leading_number(right);
                let ordering = number.len().cmp(&other_number.len()).then_with(|| number.cmp(other_number));
                if ordering != Ordering::Equal {
                    return ordering;
                }
                (left, right) = (rest, other_rest);
            }
            (Some(mine), Some(other)) if mine != other => return mine.cmp(other),
            (Some(_), Some(_)) => (left, right) = (&left[1..], &right[1..]),
        }
    }
}

/// The digits at the beginning without leading zeros, and what follows them.
fn leading_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    (&number[zeros..], rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_in_the_order_of_their_numbers() {
        let ordered = [
            "1.0.0",
            "1.2",
            "1.10",
            "release-1.2-rc1",
            "release-1.2",
            "release-1.10",
            "release",
            "v0.9",
            "v1.0.0-alpha",
            "v1.0.0-alpha2",
            "v1.0.0-alpha10",
            "v1.0.0-rc1",
            "v1.0.0",
            "v1.0.1",
            "v1.9.0",
            "v1.10.0",
            "v2",
            "v20261120",
            "v99999999999999999999999999999999998",
            "v99999999999999999999999999999999999",
        ];
        for (index, left) in ordered.iter().enumerate() {
            for (other, right) in ordered.iter().enumerate() {
                assert_eq!(compare(left, right), index.cmp(&other), "{left} and {right}");
            }
        }
    }

    #[test]
    fn different_names_are_never_the_same() {
        assert_ne!(compare("v1.0", "v1.00"), Ordering::Equal);
        assert_eq!(compare("v1", "v1"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_is_total(names in proptest::collection::vec("[v0-9.-]{0,6}", 3)) {
            let (a, b, c) = (&names[0], &names[1], &names[2]);
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            if compare(a, b) != Ordering::Greater && compare(b, c) != Ordering::Greater {
                prop_assert_ne!(compare(a, c), Ordering::Greater);
            }
        }
    }
}
