//! The little of Thrift's compact protocol that is needed to look at a Parquet file before its library does: what a
//! page's header says, and how deep a schema is nested.
//!
//! Reads bytes and allocates nothing by what they say. `None` is an answer: these bytes are none of it.

/// What is needed of a page header, in Thrift's compact protocol.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub(super) length: u64,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
    pub(super) values: u64,
}

impl PageHeader {
    /// `None` if these bytes are no header, or not a whole one.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut compact = Compact { rest: bytes };
        let mut header = Self::default();
        let mut field = 0;
        while let Some(kind) = compact.next_field(&mut field)? {
            match (field, kind) {
                (2, INT32) => header.unpacked = u64::try_from(compact.int()?).ok()?,
                (3, INT32) => header.packed = u64::try_from(compact.int()?).ok()?,
                // The headers of data pages of version 1 and 2; dictionaries have no values of rows.
                (5 | 8, STRUCT) => header.values = compact.int_of(1)?,
                _ => compact.skip(kind, 0)?,
            }
        }
        header.length = (bytes.len() - compact.rest.len()) as u64;
        Some(header)
    }
}

/// How deep the groups of a schema are nested, by the footer that holds it; `None` if the footer cannot be read.
pub(super) fn schema_depth(footer: &[u8]) -> Option<usize> {
    let mut compact = Compact { rest: footer };
    let mut field = 0;
    while let Some(kind) = compact.next_field(&mut field)? {
        if (field, kind) != (2, LIST) {
            compact.skip(kind, 0)?;
            continue;
        }
        let (elements, _) = compact.list()?;
        // Of each open group the elements that are still to come.
        let (mut open, mut deepest) = (Vec::new(), 0);
        for _ in 0..elements {
            let children = compact.int_of(5)?;
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            open.push(children);
            deepest = deepest.max(open.len());
            while open.last() == Some(&0) {
                open.pop();
            }
        }
        return Some(deepest);
    }
    None
}

const INT32: u8 = 5;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Reads Thrift's compact protocol; `None` where the bytes end or make no sense.
struct Compact<'a> {
    rest: &'a [u8],
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A signed integer, in zigzag.
    fn int(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The type of the struct's next field, whose number is put into `field`; `Some(None)` at the struct's end.
    fn next_field(&mut self, field: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *field = match byte >> 4 {
            0 => self.int()?,
            step => field.checked_add(i64::from(step))?,
        };
        Some(Some(byte & 0x0f))
    }

    /// A field of a struct, an integer not below zero; 0 if there is none.
    fn int_of(&mut self, wanted: i64) -> Option<u64> {
        let (mut field, mut found) = (0, 0);
        while let Some(kind) = self.next_field(&mut field)? {
            if field == wanted && kind == INT32 {
                found = u64::try_from(self.int()?).ok()?;
            } else {
                self.skip(kind, 1)?;
            }
        }
        Some(found)
    }

    /// How many items a list has, and of which type.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Some((count, head & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        const DEEPEST: usize = 16;
        match kind {
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.varint()?;
                self.skip_bytes(usize::try_from(length).ok()?)
            }
            9 | 10 if depth < DEEPEST => {
                let (count, item) = self.list()?;
                // Booleans in a list are a byte each.
                let item = if matches!(item, 1 | 2) { 3 } else { item };
                (0..count).try_for_each(|_| self.skip(item, depth + 1))
            }
            STRUCT if depth < DEEPEST => {
                let mut field = 0;
                while let Some(kind) = self.next_field(&mut field)? {
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn skip_bytes(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_header_is_read_and_its_other_fields_are_skipped() {
        let statistics = [0x18, 2, b'a', b'b', 0x11, 0];
        let data_page = [[0x15, 20, 0x15, 0, 0x15, 6, 0x15, 6, 0x1c].as_slice(), &statistics, &[0]].concat();
        let bytes = [[0x15, 0, 0x15, 200, 1, 0x15, 100, 0x15, 9, 0x1c].as_slice(), &data_page, &[0]].concat();
        let expected = PageHeader { length: bytes.len() as u64, packed: 50, unpacked: 100, values: 10 };
        assert_eq!(PageHeader::read(&[&bytes[..], b"data"].concat()).unwrap(), expected);
        for short in 0..bytes.len() {
            assert_eq!(PageHeader::read(&bytes[..short]), None);
        }
        let negative = [0x25, 1, 0];
        assert_eq!(PageHeader::read(&negative), None);
    }

    #[test]
    fn the_depth_of_a_schema_is_that_of_its_groups() {
        let element = |children: u8| [0x18, 1, b'x', 0x15, 2 * children, 0].to_vec();
        // The name is field 4, so num_children is the next one.
        let element = |children: u8| [&[0x48][..], &element(children)[1..]].concat();
        let footer = |children: &[u8]| {
            let elements: Vec<u8> = children.iter().flat_map(|&children| element(children)).collect();
            [&[0x15, 2, 0x19, (children.len() as u8) << 4 | STRUCT][..], &elements, &[0]].concat()
        };
        assert_eq!(schema_depth(&footer(&[2, 0, 0])), Some(2));
        assert_eq!(schema_depth(&footer(&[1, 1, 1, 0])), Some(4));
        assert_eq!(schema_depth(&footer(&[2, 1, 0, 2, 0, 0])), Some(3));
        assert_eq!(schema_depth(&footer(&[2, 0, 0])[..9]), None);
        assert_eq!(schema_depth(&[0]), None);
    }
}
