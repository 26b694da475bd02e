//! CSV as RFC 4180 has it: a header row, commas, quotes doubled inside quotes, line ends inside quotes. TSV is the same
//! with tabs for commas, as pandas, R and spreadsheets write it (backslashes are text).
//!
//! Written here because the rows need what general readers do not give: the true line of a row after blank lines, CRLF
//! and quoted line ends, a bound on a row's size, and an error where a quote swallows the rest of the file. Cells are
//! texts; an empty cell is an empty text. A carriage return alone ends no line: outside quotes it is refused.

use serde_json::Value;

use super::error::Error;
use super::fields::FieldPlan;
use super::lines::{Line, Lines};
use super::source::{RawRow, RowSource};

/// The rows of one CSV or TSV file.
pub(super) struct CsvRows {
    lines: Lines,
    record: Record,
    names: Vec<String>,
    /// For each wanted name its column.
    columns: Vec<Option<usize>>,
}

impl CsvRows {
    /// Reads the header. A file without any line has no rows.
    pub(super) fn open(mut lines: Lines, plan: &FieldPlan, separator: u8) -> Result<Self, Error> {
        if has_bare_returns(lines.peek()?) {
            return Err(Error::BareCarriageReturns { file: lines.file().to_owned() });
        }
        let mut record = Record::new(separator);
        let mut names = Vec::new();
        let line = match next_record(&mut lines, &mut record)? {
            Some(line) => line,
            None => return Ok(Self { lines, record, names, columns: Vec::new() }),
        };
        let refuse = |reason: String| Error::Header { file: lines.file().to_owned(), line, reason };
        if let Some(fault) = record.fault.take() {
            return Err(refuse(fault));
        }
        for cell in record.cells() {
            let name = std::str::from_utf8(cell).map_err(|_| refuse("it is not UTF-8".to_owned()))?;
            names.push(name.to_owned());
        }
        for name in plan.names() {
            if names.iter().filter(|known| *known == name).count() > 1 {
                return Err(refuse(format!("column `{name}` occurs more than once")));
            }
        }
        let columns = plan.names().iter().map(|name| names.iter().position(|known| known == name)).collect();
        Ok(Self { lines, record, names, columns })
    }

    fn wanted_cells(&mut self) -> Result<Vec<Option<Value>>, String> {
        if let Some(fault) = self.record.fault.take() {
            return Err(fault);
        }
        let (got, expected) = (self.record.ends.len(), self.names.len());
        if got != expected {
            return Err(format!("the row has {got} cells, expected {expected} as in the header"));
        }
        let cell = |column: &Option<usize>| {
            let Some(column) = *column else { return Ok(None) };
            let text = std::str::from_utf8(self.record.cell(column)).map_err(|error| {
                format!("`{}` has invalid UTF-8 at its byte {}", self.names[column], error.valid_up_to() + 1)
            })?;
            Ok(Some(Value::String(text.to_owned())))
        };
        self.columns.iter().map(cell).collect()
    }
}

impl RowSource for CsvRows {
    fn next_row(&mut self) -> Result<Option<RawRow>, Error> {
        let Some(line) = next_record(&mut self.lines, &mut self.record)? else {
            return Ok(None);
        };
        Ok(Some(RawRow { line, cells: self.wanted_cells() }))
    }

    fn names(&self) -> &[String] {
        &self.names
    }
}

/// Fills `record` with the next row and gives the line on which it begins; `None` at the end of the file.
fn next_record(lines: &mut Lines, record: &mut Record) -> Result<Option<u64>, Error> {
    record.clear();
    let longest = lines.longest();
    let mut begin = None;
    loop {
        let open_quote = |lines: &Lines, line| Error::UnclosedQuote { file: lines.file().to_owned(), line };
        let line = match lines.next_line()? {
            Some(line) => line,
            None => return begin.map_or(Ok(None), |line| Err(open_quote(lines, line))),
        };
        match line {
            Line::TooLong if begin.is_none() => {
                record.fault = Some(lines.too_long());
                return Ok(Some(lines.number()));
            }
            Line::Whole(bytes) if begin.is_none() && is_blank(bytes, record.separator) => continue,
            Line::Whole(bytes) if begin.is_none() || record.data.len() + bytes.len() <= longest => {
                record.add_line(bytes)
            }
            // A row over many lines that outgrows the bound: whether its quote ever closes cannot be known.
            _ => return Err(open_quote(lines, begin.unwrap_or(lines.number()))),
        }
        let begin = *begin.get_or_insert(lines.number());
        if !record.is_open() {
            return Ok(Some(begin));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    CellStart,
    Bare,
    Quoted,
    /// Behind a quote inside quotes: the end of the cell, or the first half of a doubled quote.
    QuoteSeen,
}

/// Whether a line has nothing but blanks; a separator makes cells, which are something.
fn is_blank(line: &[u8], separator: u8) -> bool {
    line.iter().all(|byte| byte.is_ascii_whitespace() && *byte != separator)
}

/// Whether a text has a carriage return without a line feed outside quotes before its first line feed, and so is no
/// text of lines.
fn has_bare_returns(text: &[u8]) -> bool {
    let mut quoted = false;
    for pair in text.windows(2) {
        match pair[0] {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => return false,
            b'\r' if !quoted && pair[1] != b'\n' => return true,
            _ => {}
        }
    }
    false
}

/// One row: its cells one after the other, and where each ends.
struct Record {
    separator: u8,
    data: Vec<u8>,
    ends: Vec<usize>,
    state: State,
    fault: Option<String>,
}

impl Record {
    fn new(separator: u8) -> Self {
        Self { separator, data: Vec::new(), ends: Vec::new(), state: State::default(), fault: None }
    }

    fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
        self.state = State::CellStart;
        self.fault = None;
    }

    /// Whether the row goes on in the next line.
    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    fn cell(&self, at: usize) -> &[u8] {
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.data[begin..self.ends[at]]
    }

    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|at| self.cell(at))
    }

    /// Takes one line with its line end, which is text if a quote is still open at it.
    fn add_line(&mut self, line: &[u8]) {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let mut rest = body;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (self.state, byte) {
                (State::CellStart, b'"') => self.state = State::Quoted,
                (State::CellStart | State::Bare | State::QuoteSeen, byte) if byte == self.separator => self.end_cell(),
                (State::CellStart | State::Bare, b'\r') => {
                    let cell = self.ends.len() + 1;
                    let reason = || format!("a carriage return outside quotes in cell {cell}, expected a line feed");
                    self.fault.get_or_insert_with(reason);
                }
                (State::CellStart | State::Bare, _) => {
                    self.data.push(byte);
                    self.state = State::Bare;
                }
                (State::Quoted, b'"') => self.state = State::QuoteSeen,
                (State::Quoted, _) => {
                    self.data.push(byte);
                    let run = rest.iter().position(|&byte| byte == b'"').unwrap_or(rest.len());
                    self.data.extend_from_slice(&rest[..run]);
                    rest = &rest[run..];
                }
                (State::QuoteSeen, b'"') => {
                    self.data.push(b'"');
                    self.state = State::Quoted;
                }
                (State::QuoteSeen, _) => {
                    let cell = self.ends.len() + 1;
                    let expected = if self.separator == b'\t' { "a tab" } else { "a comma" };
                    let reason = || format!("text behind the closing quote of cell {cell}, expected {expected}");
                    self.fault.get_or_insert_with(reason);
                    self.state = State::Bare;
                }
            }
        }
        if self.state == State::Quoted {
            self.data.extend_from_slice(&line[body.len()..]);
        } else {
            self.end_cell();
        }
    }

    fn end_cell(&mut self) {
        self.ends.push(self.data.len());
        self.state = State::CellStart;
    }
}
