//! Tables as Markdown has them, aligned so that they can be read as text too.

/// A table, while it is filled.
pub(in crate::bench) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(in crate::bench) fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self { rows: Vec::new() };
        table.add(headings);
        table
    }

    /// Adds a row.
    pub(in crate::bench) fn add<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there are only headings.
    pub(in crate::bench) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The table, a line per row.
    pub(in crate::bench) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns)
            .map(|at| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max())
            .map(|width| width.unwrap_or(0).max(3))
            .collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (at, width) in widths.iter().enumerate() {
                let cell = row.get(at).map_or("", String::as_str);
                text += &format!("| {cell:<width$} ");
            }
            text += "|\n";
            if number == 0 {
                for width in &widths {
                    text += &format!("| {} ", "-".repeat(*width));
                }
                text += "|\n";
            }
        }
        text
    }
}
