//! Plain aligned columns, as `kubectl get` prints them.

/// Most characters of one cell; what is longer is cut, except in the last column.
const CELL_CHARS_MAX: usize = 60;

/// Rows of text under a header.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names.
    #[must_use]
    pub fn new(header: &[&str]) -> Table {
        Table { rows: vec![header.iter().map(|name| (*name).to_owned()).collect()] }
    }

    /// Adds a row; cells that are missing are empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether there is nothing but the header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The lines, each with a newline and without blanks at its end.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count().min(CELL_CHARS_MAX)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column + 1 == columns {
                    line.push_str(&one_line(cell));
                } else {
                    let shown = shortened(&one_line(cell), CELL_CHARS_MAX);
                    let width = widths[column];
                    line.push_str(&format!("{shown:<width$}   "));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Texts come from devices and other people: no control characters reach the terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
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

    proptest! {
        #[test]
        fn no_control_character_gets_through(cells in proptest::collection::vec(".*", 0..5)) {
            let mut table = Table::new(&["A", "B"]);
            table.row(cells);
            prop_assert!(table.render().chars().all(|c| c == '\n' || !c.is_control()));
            prop_assert_eq!(table.render().lines().count(), 2);
        }
    }
}
