//! Version constraints of manifests (`>=3.10,<3.13`, `^18 || ^20`, `~8.2`) resolved to one version: the
//! default when the constraint allows it, otherwise the version the constraint points at.

use super::version::Version;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Pinned,
    Caret,
    AtLeast,
    Above,
    AtMost,
    Below,
}

#[derive(Debug, Clone)]
struct Comparator {
    operator: Operator,
    version: Version,
}

/// Longest spelling first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 11] = [
    ("===", Operator::Pinned),
    ("==", Operator::Pinned),
    ("~=", Operator::Pinned),
    ("~>", Operator::Pinned),
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    (">", Operator::Above),
    ("<", Operator::Below),
    ("^", Operator::Caret),
    ("~", Operator::Pinned),
    ("=", Operator::Pinned),
];

/// The version to use for `constraint`, at most `parts` numbers long; `None` when nothing in it is a version.
pub(super) fn resolve(constraint: &str, default: &Version, parts: usize) -> Option<Version> {
    let alternatives: Vec<Vec<Comparator>> =
        constraint.split('|').map(comparators).filter(|comparators| !comparators.is_empty()).collect();
    if alternatives.iter().any(|all| all.iter().all(|each| allows(each, default))) {
        return Some(default.clone());
    }
    alternatives.last().and_then(|all| pointed_at(all, parts))
}

fn comparators(text: &str) -> Vec<Comparator> {
    let mut glued = text.trim().to_owned();
    for (spelling, _) in OPERATORS {
        glued = glued.replace(&format!("{spelling} "), spelling);
    }
    glued.split([',', ' ']).filter_map(comparator).collect()
}

fn comparator(text: &str) -> Option<Comparator> {
    let text = text.trim();
    let (rest, operator) = OPERATORS
        .iter()
        .find_map(|(spelling, operator)| text.strip_prefix(spelling).map(|rest| (rest, *operator)))
        .unwrap_or((text, Operator::Pinned));
    let rest = rest.trim_end_matches(".*").trim_end_matches(".x");
    Version::leading(rest).map(|version| Comparator { operator, version })
}

fn allows(comparator: &Comparator, version: &Version) -> bool {
    let (mine, theirs) = (version.key(), comparator.version.key());
    match comparator.operator {
        Operator::Pinned => {
            version.agrees_with(&comparator.version) && version.len() >= comparator.version.len()
        }
        Operator::Caret => version.major() == comparator.version.major() && mine >= theirs,
        Operator::AtLeast => mine >= theirs || version.agrees_with(&comparator.version) && version.len() == 1,
        Operator::Above => mine > theirs,
        Operator::AtMost => mine <= theirs,
        Operator::Below => mine < theirs,
    }
}

/// The version the comparators point at: an exact one, else just below the upper bound, else the lower bound.
fn pointed_at(comparators: &[Comparator], parts: usize) -> Option<Version> {
    let find = |wanted: &[Operator]| comparators.iter().find(|each| wanted.contains(&each.operator));
    if let Some(exact) = find(&[Operator::Pinned, Operator::Caret, Operator::AtMost]) {
        return Some(exact.version.truncated(parts));
    }
    let below = find(&[Operator::Below]).and_then(|each| each.version.truncated(parts).previous());
    below.or_else(|| find(&[Operator::AtLeast, Operator::Above]).map(|each| each.version.truncated(parts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_resolve_to_the_default_or_to_what_they_point_at() {
        let cases = [
            (">=3.10", "3.14", 2, "3.14"),
            (">=3.10,<3.13", "3.14", 2, "3.12"),
            (">= 3.10, < 4", "3.14", 2, "3.14"),
            ("^3.11", "3.14", 2, "3.14"),
            ("~=3.11", "3.14", 2, "3.11"),
            ("==3.9.*", "3.14", 2, "3.9"),
            ("18.x", "24", 1, "18"),
            ("^18 || ^20", "24", 1, "20"),
            (">=18", "24", 1, "24"),
            (">=18 <21", "24", 1, "20"),
            (">=24.1", "24", 1, "24"),
            ("^8.1|^8.2", "8.4", 2, "8.4"),
            ("~> 3.2", "3.4", 2, "3.2"),
        ];
        for (constraint, default, parts, expected) in cases {
            let default = Version::parse(default).unwrap();
            let resolved = resolve(constraint, &default, parts).map(|version| version.to_string());
            assert_eq!(resolved.as_deref(), Some(expected), "{constraint}");
        }
        assert_eq!(resolve("latest", &Version::parse("24").unwrap(), 1), None);
    }
}
