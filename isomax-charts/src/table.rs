//! Tables of means and standard deviations over runs.

use std::fmt;

use isomax_burn::Moments;

/// Mean ± sample standard deviation (divisor `n - 1`) of a value over runs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MeanStd(Moments);

impl FromIterator<f64> for MeanStd {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl fmt::Display for MeanStd {
    /// As `97.6 ± 0.4`; a precision may be given, 1 is the default. One run has no deviation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let text = match (self.0.mean(), self.0.std()) {
            (None, _) => "–".to_owned(),
            (Some(mean), None) => format!("{mean:.digits$}"),
            (Some(mean), Some(std)) => format!("{mean:.digits$} ± {std:.digits$}"),
        };
        match f.width() {
            Some(width) => write!(f, "{text:>width$}"),
            None => f.write_str(&text),
        }
    }
}

/// A table of text cells, its columns as wide as they need to be, readable as Markdown.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts with a line of column names.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![columns.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row.
    ///
    /// # Panics
    ///
    /// If it has another number of cells than there are columns.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert!(
            cells.len() == self.rows[0].len(),
            "A row of {} cells does not fit a table of {} columns",
            cells.len(),
            self.rows[0].len()
        );
        self.rows.push(cells);
    }

    /// All rows, that of the column names first.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A bar within a cell would begin another one.
        let plain = |cell: &String| cell.replace('|', "\\|").replace(['\r', '\n'], " ");
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(plain).collect()).collect();
        let columns = 0..self.rows[0].len();
        let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = columns.map(width).collect();
        for (index, row) in rows.iter().enumerate() {
            for (cell, &width) in row.iter().zip(&widths) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")?;
            if index == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{}", "-".repeat(width + 2)))?;
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_divide_by_one_less() {
        let values: MeanStd = [97.0, 98.0, 99.0].into_iter().collect();
        assert_eq!(values.to_string(), "98.0 ± 1.0");
        assert_eq!(format!("{values:14.2}"), "  98.00 ± 1.00");
        assert_eq!(MeanStd::from_iter([4.25]).to_string(), "4.2");
        assert_eq!(MeanStd::default().to_string(), "–");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["set", "AUROC"]);
        table.row(["noise", "99.9 ± 0.1"]);
        let expected = "| set   | AUROC      |\n|-------|------------|\n| noise | 99.9 ± 0.1 |\n";
        assert_eq!(table.to_string(), expected);
        table.row(["a|b", "two\nlines"]);
        assert!(table.to_string().ends_with("| a\\|b  | two lines  |\n"), "{table}");
    }
}
