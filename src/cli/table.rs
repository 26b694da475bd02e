//! Plain aligned columns for a terminal.

use std::fmt::Write;

/// Lays out `rows` under `header`; cells longer than `widest` characters are cut with an ellipsis. Columns whose cells
/// all look like numbers are right-aligned.
pub(crate) fn layout(header: &[&str], rows: &[Vec<String>], widest: usize) -> String {
    let cut = |cell: &str| -> String {
        let one_line: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if one_line.chars().count() <= widest {
            return one_line;
        }
        let mut short: String = one_line.chars().take(widest - 1).collect();
        short.push('…');
        short
    };
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| cut(cell)).collect()).collect();
    let width = |column: usize| {
        let longest = cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        longest.max(header[column].chars().count())
    };
    let numeric: Vec<bool> = (0..header.len())
        .map(|column| !cells.is_empty() && cells.iter().all(|row| row[column].parse::<f64>().is_ok()))
        .collect();
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let rule: Vec<String> = (0..header.len()).map(|column| "─".repeat(width(column))).collect();
    for row in [&header, &rule].into_iter().chain(&cells) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let fill = " ".repeat(width(column) - cell.chars().count());
            let gap = if column == 0 { "" } else { "  " };
            let _ = if numeric[column] { write!(line, "{gap}{fill}{cell}") } else { write!(line, "{gap}{cell}{fill}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::layout;

    #[test]
    fn columns_line_up_and_long_cells_are_cut() {
        let rows = vec![vec!["A very long title\nin two lines".into(), "0.9".into()], vec!["Ω".into(), "12.25".into()]];
        let text = layout(&["title", "p"], &rows, 12);
        assert_eq!(text, "title             p\n────────────  ─────\nA very long…    0.9\nΩ             12.25\n");
    }
}
