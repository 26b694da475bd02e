//! Reads the pickles that `torch.save` writes, as data. A pickle is a program for a stack machine; this one knows the
//! operations that build lists, tuples, dicts and texts, and the few names that a file of weights needs. A call of one
//! of those names is noted, nothing is ever called or imported, and every other name ends the reading.
//! Values live in one list and refer to each other by number, so cycles and deep nesting cost nothing.

use std::collections::HashMap;

/// The number of a value in its [`Pickle`].
pub(super) type Id = usize;

/// A value of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, or a floating point number: nothing that a file of weights is read for.
    Number,
    Text(String),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values in the order in which they were set; also an ordered dict.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// What stands outside the pickle, by its description: a storage.
    Persistent(Id),
    /// A call of a name with a tuple.
    Call(Global, Id),
    /// The start of a tuple, list or dict that is being built.
    Mark,
}

/// The names that a file of weights may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// A type of storage, with the word for its elements.
    Storage(&'static str),
}

/// Why a pickle could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// It uses a name that is not among those of weights.
    Global(String),
    /// It is no pickle that `torch.save` writes.
    Form(String),
}

/// Everything that a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle {
    objects: Vec<Object>,
    root: Id,
}

impl Pickle {
    /// Reads a pickle up to its end mark.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut machine = Machine { bytes, position: 0, objects: Vec::new(), stack: Vec::new(), memo: HashMap::new() };
        let root = machine.run()?;
        Ok(Self { objects: machine.objects, root })
    }

    /// The value that the whole pickle stands for.
    pub(super) fn root(&self) -> &Object {
        &self.objects[self.root]
    }

    /// The value of that number.
    pub(super) fn get(&self, id: Id) -> &Object {
        &self.objects[id]
    }
}

struct Machine<'b> {
    bytes: &'b [u8],
    position: usize,
    objects: Vec<Object>,
    stack: Vec<Id>,
    memo: HashMap<u64, Id>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id, Problem> {
        loop {
            let start = self.position;
            let [operation] = self.take()?;
            if operation == b'.' {
                return self.pop();
            }
            self.step(operation, start)?;
        }
    }

    fn step(&mut self, operation: u8, start: usize) -> Result<(), Problem> {
        match operation {
            // Protocol number and frame length: nothing to do.
            0x80 => self.take::<1>().map(|_| ()),
            0x95 => self.take::<8>().map(|_| ()),
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | 0x8b | b'G' => self.number(operation),
            b'X' | 0x8c | 0x8d | b'C' | b'B' | 0x8e | b'T' | b'U' => self.string(operation),
            b'(' => self.push(Object::Mark),
            b')' => self.push(Object::Tuple(Vec::new())),
            b']' => self.push(Object::List(Vec::new())),
            b'}' => self.push(Object::Dict(Vec::new())),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Object::Tuple(items))
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(operation - 0x84))?;
                self.push(Object::Tuple(items))
            }
            b'a' | b'e' | b's' | b'u' => self.extend(operation),
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(operation),
            b'c' | 0x93 => self.global(operation),
            b'Q' => {
                let id = self.pop()?;
                self.push(Object::Persistent(id))
            }
            b'R' | 0x81 => self.call(),
            // The attributes of an object; those of a dict of weights are its history.
            b'b' => self.pop().map(|_| ()),
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            other => Err(self.form(start, &format!("operation 0x{other:02x}, which files of weights don't use"))),
        }
    }

    fn number(&mut self, operation: u8) -> Result<(), Problem> {
        let object = match operation {
            b'N' => Object::None,
            0x88 => Object::Bool(true),
            0x89 => Object::Bool(false),
            b'K' => Object::Int(self.take::<1>()?[0].into()),
            b'M' => Object::Int(u16::from_le_bytes(self.take()?).into()),
            b'J' => Object::Int(i32::from_le_bytes(self.take()?).into()),
            b'G' => {
                self.take::<8>()?;
                Object::Number
            }
            // A little-endian integer in two's complement, with its length before it.
            _ => {
                let length = if operation == 0x8a { u64::from(self.take::<1>()?[0]) } else { self.length::<4>()? };
                match self.slice(length)? {
                    [] => Object::Int(0),
                    bytes if bytes.len() > 8 => Object::Number,
                    bytes => {
                        let fill = if bytes[bytes.len() - 1] & 0x80 == 0 { 0 } else { 0xff };
                        let mut wide = [fill; 8];
                        wide[..bytes.len()].copy_from_slice(bytes);
                        Object::Int(i64::from_le_bytes(wide))
                    }
                }
            }
        };
        self.push(object)
    }

    fn string(&mut self, operation: u8) -> Result<(), Problem> {
        let start = self.position;
        let length = match operation {
            0x8c | b'C' | b'U' => self.length::<1>()?,
            b'X' | b'B' | b'T' => self.length::<4>()?,
            _ => self.length::<8>()?,
        };
        let bytes = self.slice(length)?;
        if matches!(operation, b'C' | b'B' | 0x8e) {
            return self.push(Object::Bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let text = text.to_owned();
                self.push(Object::Text(text))
            }
            Err(_) => Err(self.form(start, "a text that is not UTF-8")),
        }
    }

    /// Puts items into the list or dict below them.
    fn extend(&mut self, operation: u8) -> Result<(), Problem> {
        let start = self.position;
        let items = match operation {
            b'a' => self.pop_many(1)?,
            b's' => self.pop_many(2)?,
            _ => self.pop_mark()?,
        };
        let target = self.top()?;
        let fits = match (&mut self.objects[target], operation) {
            (Object::List(list), b'a' | b'e') => {
                list.extend(&items);
                true
            }
            (Object::Dict(dict), b's' | b'u') if items.len() % 2 == 0 => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                true
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.form(start, "items for what is no list or dict")) }
    }

    /// Notes the top value under a number, or puts a noted value on top.
    fn remember(&mut self, operation: u8) -> Result<(), Problem> {
        let start = self.position;
        let number = match operation {
            b'q' | b'h' => self.length::<1>()?,
            b'r' | b'j' => self.length::<4>()?,
            _ => self.memo.len() as u64,
        };
        if matches!(operation, b'h' | b'j') {
            let known = self.memo.get(&number).copied();
            let id = known.ok_or_else(|| self.form(start, &format!("value {number}, which was never noted")))?;
            self.stack.push(id);
        } else {
            let top = self.top()?;
            self.memo.insert(number, top);
        }
        Ok(())
    }

    /// A name: in two lines, or as two texts on the stack.
    fn global(&mut self, operation: u8) -> Result<(), Problem> {
        let (module, name) = if operation == b'c' {
            (self.line()?, self.line()?)
        } else {
            let start = self.position;
            let items = self.pop_many(2)?;
            match (&self.objects[items[0]], &self.objects[items[1]]) {
                (Object::Text(module), Object::Text(name)) => (module.clone(), name.clone()),
                _ => return Err(self.form(start, "a name that is no text")),
            }
        };
        match known_global(&module, &name) {
            Some(global) => self.push(Object::Global(global)),
            None => Err(Problem::Global(format!("{module}.{name}"))),
        }
    }

    /// Notes a call; an ordered dict starts empty and is filled like a dict.
    fn call(&mut self) -> Result<(), Problem> {
        let start = self.position;
        let items = self.pop_many(2)?;
        let object = match (&self.objects[items[0]], &self.objects[items[1]]) {
            (Object::Global(Global::OrderedDict), Object::Tuple(arguments)) if arguments.is_empty() => {
                Object::Dict(Vec::new())
            }
            // The tuple is not copied: many calls may share one.
            (Object::Global(global), Object::Tuple(_)) => Object::Call(*global, items[1]),
            _ => return Err(self.form(start, "a call of what is no name")),
        };
        self.push(object)
    }

    fn push(&mut self, object: Object) -> Result<(), Problem> {
        self.stack.push(self.objects.len());
        self.objects.push(object);
        Ok(())
    }

    fn top(&self) -> Result<Id, Problem> {
        self.stack.last().copied().ok_or_else(|| self.form(self.position, "a value from an empty stack"))
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Problem> {
        let Some(at) = self.stack.len().checked_sub(count) else {
            return Err(self.form(self.position, "a value from an empty stack"));
        };
        Ok(self.stack.split_off(at))
    }

    /// The values above the last mark; the mark goes too.
    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let Some(at) = self.stack.iter().rposition(|id| self.objects[*id] == Object::Mark) else {
            return Err(self.form(self.position, "the end of what was never begun"));
        };
        let items = self.stack.split_off(at + 1);
        self.stack.pop();
        Ok(items)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut taken = [0; N];
        taken.copy_from_slice(self.slice(N as u64)?);
        Ok(taken)
    }

    /// An unsigned little-endian number of `N` bytes.
    fn length<const N: usize>(&mut self) -> Result<u64, Problem> {
        Ok(self.take::<N>()?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn slice(&mut self, length: u64) -> Result<&[u8], Problem> {
        let end = usize::try_from(length).ok().and_then(|length| self.position.checked_add(length));
        match end.filter(|end| *end <= self.bytes.len()) {
            Some(end) => {
                let start = std::mem::replace(&mut self.position, end);
                Ok(&self.bytes[start..end])
            }
            None => Err(Problem::Form(format!("it ends at byte {} inside a value", self.bytes.len()))),
        }
    }

    fn line(&mut self) -> Result<String, Problem> {
        let start = self.position;
        let rest = &self.bytes[start..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| self.form(start, "a name without an end"))?;
        self.position += end + 1;
        let text = std::str::from_utf8(&rest[..end]);
        text.map(str::to_owned).map_err(|_| self.form(start, "a name that is not UTF-8"))
    }

    fn form(&self, position: usize, what: &str) -> Problem {
        Problem::Form(format!("byte {position} of its pickle has {what}"))
    }
}

fn known_global(module: &str, name: &str) -> Option<Global> {
    match (module, name) {
        ("collections", "OrderedDict") => Some(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Some(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Some(Global::RebuildParameter),
        ("torch" | "torch.cuda", "FloatStorage") => Some(Global::Storage("F32")),
        ("torch" | "torch.cuda", "HalfStorage") => Some(Global::Storage("F16")),
        ("torch" | "torch.cuda", "BFloat16Storage") => Some(Global::Storage("BF16")),
        ("torch" | "torch.cuda", "DoubleStorage") => Some(Global::Storage("F64")),
        ("torch" | "torch.cuda", "LongStorage") => Some(Global::Storage("I64")),
        ("torch" | "torch.cuda", "IntStorage") => Some(Global::Storage("I32")),
        ("torch" | "torch.cuda", "ShortStorage") => Some(Global::Storage("I16")),
        ("torch" | "torch.cuda", "CharStorage") => Some(Global::Storage("I8")),
        ("torch" | "torch.cuda", "ByteStorage") => Some(Global::Storage("U8")),
        ("torch" | "torch.cuda", "BoolStorage") => Some(Global::Storage("BOOL")),
        _ => None,
    }
}
