//! The `Link` header of an answer that has pages.

/// Where the next page is, by a `Link` header.
pub(crate) fn next(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, from)) = rest.split_once('<') {
        let (url, after) = from.split_once('>')?;
        let (parameters, following) = after.split_at(after.find('<').unwrap_or(after.len()));
        if parameters.split([';', ',']).any(says_next) {
            return Some(url);
        }
        rest = following;
    }
    None
}

fn says_next(parameter: &str) -> bool {
    parameter.trim().split_once('=').is_some_and(|(name, value)| {
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn the_next_page_is_found_wherever_it_stands() {
        let next_url = "https://git.test/api/v4/projects/1/jobs?page=3&per_page=100";
        let others = r#"<https://git.test/api/v4/projects/1/jobs?page=1>; rel="first""#;
        for header in [
            format!(r#"<{next_url}>; rel="next""#),
            format!(r#"<{next_url}>; rel="next", {others}"#),
            format!(r#"{others}, <{next_url}>; rel="next""#),
            format!("{others},<{next_url}>;rel=next"),
            format!(r#"<{next_url}>; title="more"; rel="last next""#),
            format!(r#"<{next_url}> ; REL = "NEXT""#),
        ] {
            assert_eq!(next(&header), Some(next_url), "{header}");
        }
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        for header in [
            "",
            r#"<https://git.test/?page=1>; rel="first", <https://git.test/?page=9>; rel="last""#,
            r#"<https://git.test/?page=1>; rel="prev""#,
            "https://git.test/?page=1; rel=next",
            "<https://git.test/?page=1; rel=next",
            "<https://git.test/?page=1>; rel",
        ] {
            assert_eq!(next(header), None, "{header}");
        }
    }
}
