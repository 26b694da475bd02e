//! One JSON object of a whole file, `{"id": {"title": ..., ...}, ...}`, as SPECTER's `metadata.json` is: each key with
//! its value is a row, and the key is its field [`KEY`].
//!
//! Read value by value, so that memory is bounded by the longest row. A broken value is a row with a reason as long as
//! its end can be told; where the object itself is broken, nothing behind it can be read and the reading ends.

use std::sync::Arc;

use serde_json::Value;

use super::error::Error;
use super::fields::FieldPlan;
use super::jsonl::parse_row;
use super::lines::Lines;
use super::source::{RawRow, RowSource};

/// The field that holds a row's key.
pub(super) const KEY: &str = "key";

/// The rows of one object.
pub(super) struct JsonObjectRows {
    lines: Lines,
    plan: Arc<FieldPlan>,
    names: Vec<String>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the object's brace.
    Begin,
    /// Behind the brace: a key or the end.
    First,
    /// Behind a value: a comma or the end.
    Next,
    End,
}

impl JsonObjectRows {
    pub(super) fn new(lines: Lines, plan: Arc<FieldPlan>) -> Self {
        Self { lines, plan, names: Vec::new(), state: State::Begin }
    }

    /// The next byte that is no blank, not taken.
    fn next_mark(&mut self) -> Result<Option<u8>, Error> {
        while let Some(byte) = self.lines.peek_byte()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.lines.take_byte()?;
        }
        Ok(None)
    }

    fn broken<T>(&mut self, met: Option<u8>, expected: &'static str) -> Result<T, Error> {
        let met = match met {
            None => "the object ends in the middle".to_owned(),
            Some(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(byte)),
            Some(byte) => format!("byte {byte:#04x}"),
        };
        Err(Error::BrokenObject { file: self.lines.file().to_owned(), line: self.lines.number(), met, expected })
    }

    fn expect(&mut self, wanted: u8, expected: &'static str) -> Result<(), Error> {
        match self.next_mark()? {
            Some(byte) if byte == wanted => self.lines.take_byte(),
            other => self.broken(other, expected),
        }
    }

    /// Goes to the next key; `false` at the end of the object.
    fn find_key(&mut self) -> Result<bool, Error> {
        if self.state == State::Begin {
            self.expect(b'{', "one JSON object with a paper under each key")?;
            self.state = State::First;
        }
        match (self.state, self.next_mark()?) {
            (State::First | State::Next, Some(b'}')) => {
                self.lines.take_byte()?;
                self.state = State::End;
                match self.next_mark()? {
                    None => return Ok(false),
                    other => return self.broken(other, "nothing behind the object"),
                }
            }
            (State::First, _) => {}
            (_, Some(b',')) => self.lines.take_byte()?,
            (_, other) => return self.broken(other, "a comma or the end of the object"),
        }
        match self.next_mark()? {
            Some(b'"') => Ok(true),
            other => self.broken(other, "a key in quotes"),
        }
    }

    /// Takes one value whole: the text up to the comma or brace behind it, `None` if it is too long to be kept.
    fn take_value(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let longest = self.lines.longest();
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        let mut value = Vec::new();
        let mut fits = true;
        self.next_mark()?;
        loop {
            let Some(byte) = self.lines.peek_byte()? else {
                return self.broken(None, "the end of the value");
            };
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'{' | b'[' => depth += 1,
                b',' | b'}' | b']' if depth == 0 => return Ok(fits.then_some(value)),
                b'}' | b']' => depth -= 1,
                b':' if depth == 0 => return Ok(fits.then_some(value)),
                _ => {}
            }
            self.lines.take_byte()?;
            if fits {
                value.push(byte);
                fits = value.len() <= longest;
                if !fits {
                    value = Vec::new();
                }
            }
        }
    }

    fn cells(&mut self, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Result<Vec<Option<Value>>, String> {
        let (Some(key), Some(value)) = (key, value) else { return Err(self.lines.too_long()) };
        let key = std::str::from_utf8(&key).map_err(|_| "the key is not UTF-8".to_owned())?;
        let key: String = serde_json::from_str(key.trim_end()).map_err(|_| "the key cannot be read".to_owned())?;
        let mut cells = parse_row(&value, &self.plan, &mut self.names)?;
        if let Some(at) = self.plan.names().iter().position(|name| name == KEY) {
            cells[at] = Some(Value::String(key));
        }
        Ok(cells)
    }
}

impl RowSource for JsonObjectRows {
    fn next_row(&mut self) -> Result<Option<RawRow>, Error> {
        if self.state == State::End || !self.find_key()? {
            return Ok(None);
        }
        let line = self.lines.number();
        let key = self.take_value()?;
        self.expect(b':', "a colon behind the key")?;
        let value = self.take_value()?;
        self.state = State::Next;
        Ok(Some(RawRow { line, cells: self.cells(key, value) }))
    }

    fn names(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::super::FieldMap;
    use super::*;

    fn read(text: &str, longest: usize) -> Vec<String> {
        let fields = FieldMap { id: Some(KEY.to_owned()), ..FieldMap::default() };
        let plan = Arc::new(FieldPlan::new(&fields, None));
        let mut rows = JsonObjectRows::new(Lines::of_bytes(text.as_bytes(), longest), plan);
        let mut met = Vec::new();
        loop {
            met.push(match rows.next_row() {
                Ok(None) => return met,
                Err(error) => {
                    met.push(error.to_string());
                    return met;
                }
                Ok(Some(row)) => match row.cells {
                    Ok(cells) => format!("{} {:?} {:?}", row.line, cells[0].as_ref().unwrap(), cells[1]),
                    Err(reason) => format!("{} {reason}", row.line),
                },
            });
        }
    }

    #[test]
    fn each_key_with_its_value_is_a_row() {
        let text = "\u{feff}\n{\"a\": {\"title\": \"x}\\\"{\"},\n \"b\\n\" :\n{\"title\":[1,{\"y\":2}]},\n\"c\":7, \"d\":{\"title\":}}\n";
        let expected = [
            r#"2 String("a") Some(String("x}\"{"))"#,
            r#"3 String("b\n") Some(Array []))"#.trim_end_matches(')'),
            "5 the row is a number, expected a JSON object",
            "5 `title` cannot be read: expected value at column 10",
        ];
        let met = read(text, 99);
        assert_eq!(met[0], expected[0]);
        assert!(met[1].starts_with(expected[1]), "{met:?}");
        assert_eq!(met[2..], expected[2..]);
        assert!(read("{}", 99).is_empty() && read(" { } \n", 99).is_empty());
    }

    #[test]
    fn a_row_above_the_bound_is_passed_over() {
        let text = "{\"a\": {\"title\": \"0123456789\"},\n\"b\": {\"title\": \"0\"}}";
        let expected =
            ["1 the row is longer than 20 bytes, the most that is read", "2 String(\"b\") Some(String(\"0\"))"];
        assert_eq!(read(text, 20), expected);
    }

    #[test]
    fn where_the_object_breaks_the_reading_ends() {
        let last = |text: &str| read(text, 99).pop().unwrap();
        assert_eq!(last("[1]"), "test:1: `[`, expected one JSON object with a paper under each key");
        assert_eq!(
            last(""),
            "test:1: the object ends in the middle, expected one JSON object with a paper under each key"
        );
        assert_eq!(last("{\n7"), "test:2: `7`, expected a key in quotes");
        assert_eq!(last("{\"a\" {}}"), "test:1: `}`, expected a colon behind the key");
        assert_eq!(
            last("{\"a\": {\"title\": \"x"),
            "test:1: the object ends in the middle, expected the end of the value"
        );
        assert_eq!(last("{\"a\": {}\n\"b\": {}}"), "test:2: `:`, expected a comma or the end of the object");
        assert_eq!(last("{\"a\": {}} x"), "test:1: `x`, expected nothing behind the object");
        assert_eq!(last("{\"a\": {}, \u{0}"), "test:1: byte 0x00, expected a key in quotes");
    }

    #[test]
    fn a_value_without_an_end_does_not_unfold_for_ever() {
        use super::super::lines::TextBytes;
        use std::io::{BufReader, Read, repeat};
        use std::sync::atomic::AtomicU64;

        let packed = Some(("gzip", Arc::new(AtomicU64::new(1_000))));
        for (head, endless) in [(&b"{\"a\": \""[..], b'x'), (b"{", b' ')] {
            let bytes = Box::new(BufReader::new(head.chain(repeat(endless))));
            let lines = Lines::new(TextBytes { bytes, file: "test".into(), packed: packed.clone() });
            let plan = Arc::new(FieldPlan::new(&FieldMap::default(), None));
            let error = JsonObjectRows::new(lines, plan).next_row().err().unwrap();
            assert!(error.to_string().contains("more than 500 times its size"), "{error}");
        }
    }
}
