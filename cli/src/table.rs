//! Plain aligned columns, as `kubectl get` prints them.

use comfy_table::{ColumnConstraint, Row, TableStyle, Width};

/// Most characters of one cell; what is longer is cut, except in the last column.
const CELL_CHARS_MAX: u16 = 60;
/// Blanks between two columns.
const GAP: u16 = 3;

/// Rows of text under a header.
#[derive(Debug)]
pub struct Table {
    rows: comfy_table::Table,
    columns: usize,
}

impl Table {
    /// A table with these column names.
    #[must_use]
    pub fn new(header: &[&str]) -> Table {
        let mut rows = comfy_table::Table::new();
        rows.load_style(TableStyle::new()).set_truncation_indicator("…").set_header(header.iter().copied());
        Table { rows, columns: header.len() }
    }

    /// Adds a row; cells that are missing are empty.
    pub fn row(&mut self, cells: Vec<String>) {
        let mut row = Row::from(cells.iter().map(|cell| one_line(cell)));
        // A row is one line; what does not fit is cut.
        row.max_height(1);
        self.columns = self.columns.max(cells.len());
        self.rows.add_row(row);
    }

    /// Whether there is nothing but the header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each with a newline and without blanks at its end.
    #[must_use]
    pub fn render(mut self) -> String {
        let last = self.columns.saturating_sub(1);
        for (index, column) in self.rows.column_iter_mut().enumerate() {
            column.set_padding((0, if index < last { GAP } else { 0 }));
            if index < last {
                column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(CELL_CHARS_MAX + GAP)));
            }
        }
        self.rows.trim_fmt() + "\n"
    }
}

/// Texts come from devices and other people: no control characters reach the terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_are_aligned_and_lines_end_clean() {
        let mut table = Table::new(&["NAME", "VALUE", "NOTE"]);
        table.row(vec!["a".into(), "1".into(), "first".into()]);
        table.row(vec!["longer".into(), "22".into()]);
        assert_eq!(table.render(), "NAME     VALUE   NOTE\na        1       first\nlonger   22\n");
    }

    #[test]
    fn a_long_cell_is_cut_except_in_the_last_column() {
        let mut table = Table::new(&["NAME", "NOTE"]);
        let long = "long ".repeat(40);
        table.row(vec!["x".repeat(80), long.clone()]);
        let text = table.render();
        let line = text.lines().nth(1).unwrap();
        assert!(line.starts_with(&format!("{}…   long", "x".repeat(59))), "{line}");
        assert!(line.ends_with(long.trim_end()) && text.lines().count() == 2, "{text}");
    }

    #[test]
    fn wide_letters_keep_columns_aligned() {
        let mut table = Table::new(&["NAME", "VALUE"]);
        table.row(vec!["泵".into(), "1".into()]);
        assert_eq!(table.render(), "NAME   VALUE\n泵     1\n");
    }

    proptest! {
        #[test]
        fn no_control_character_gets_through(cells in proptest::collection::vec(".*", 0..5)) {
            let mut table = Table::new(&["A", "B"]);
            table.row(cells);
            let text = table.render();
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
            prop_assert_eq!(text.lines().count(), 2);
        }
    }
}
