//! As much of Markdown as the documents use: code, links, headings, tables.

use std::collections::BTreeSet;

/// A document, taken apart.
pub(crate) struct Document {
    /// Lines outside of code blocks.
    prose: Vec<String>,
    /// Lines inside of code blocks; those that end in a backslash are joined with the next.
    blocks: Vec<String>,
}

impl Document {
    pub(crate) fn parse(text: &str) -> Self {
        let (mut prose, mut blocks, mut inside, mut begun) = (Vec::new(), Vec::new(), false, String::new());
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else if !inside {
                prose.push(line.to_owned());
            } else if let Some(head) = line.strip_suffix('\\') {
                begun += head;
            } else {
                blocks.push(std::mem::take(&mut begun) + line);
            }
        }
        assert!(!inside, "a code block is not closed");
        Self { prose, blocks }
    }

    /// Inline code.
    pub(crate) fn spans(&self) -> Vec<String> {
        let text = self.prose.join("\n");
        let parts: Vec<&str> = text.split('`').collect();
        assert!(parts.len() % 2 == 1, "inline code is not closed");
        parts.iter().skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
    }

    /// Inline code and the lines of code blocks.
    pub(crate) fn code(&self) -> Vec<String> {
        let mut code = self.spans();
        code.extend(self.blocks.iter().cloned());
        code
    }

    /// The targets of `[text](target)`.
    pub(crate) fn links(&self) -> Vec<String> {
        let text = self.prose.join("\n");
        text.split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link.to_owned())
            .collect()
    }

    /// What a link may name behind its `#`.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let heading =
            |line: &String| line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_owned());
        self.prose.iter().filter_map(heading).map(|heading| anchor(&heading)).collect()
    }

    /// The inline code in the first column of every table whose first heading is `heading`.
    pub(crate) fn first_cells(&self, heading: &str) -> Vec<String> {
        let (mut cells, mut inside) = (Vec::new(), false);
        for line in &self.prose {
            let first = line.strip_prefix('|').and_then(|rest| rest.split('|').next()).map(str::trim);
            match first {
                None => inside = false,
                Some(first) if first == heading => inside = true,
                Some(first) if inside && first.starts_with('`') => {
                    cells.extend(first.split('`').skip(1).step_by(2).map(str::to_owned));
                }
                Some(_) => {}
            }
        }
        cells
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
