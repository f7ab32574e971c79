//! How large the terminal is.

/// Size where nobody knows it.
const USUAL: Size = Size { columns: 80, rows: 24 };

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Characters in a line.
    pub(crate) columns: usize,
    /// Lines.
    pub(crate) rows: usize,
}

/// The size of the terminal that standard output goes to; without one, what COLUMNS and LINES say.
pub(crate) fn size() -> Size {
    let told = rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| Size { columns: usize::from(size.ws_col), rows: usize::from(size.ws_row) })
        .filter(|size| size.columns > 0 && size.rows > 0);
    let named = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    told.unwrap_or_else(|| Size {
        columns: named("COLUMNS").filter(|columns| *columns > 0).unwrap_or(USUAL.columns),
        rows: named("LINES").filter(|rows| *rows > 0).unwrap_or(USUAL.rows),
    })
}
