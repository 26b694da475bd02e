//! Where the columns of a part lie in its bytes. Knows the Arrow file format, not where the bytes come from.
//!
//! Invariant: whatever the bytes are, the answer is a layout that stays inside of them, or a [`Damage`]; never a
//! panic, and nothing is allocated from a number in the file before that number was checked against its size.

use arrow_buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use arrow_ipc::{Block, Endianness, Field, Footer, MetadataVersion, Precision, RecordBatch, Type};

use super::CACHE_FORMAT;
use super::error::Damage;
use super::key::Key;
use super::space::PartOrigin;

const MAGIC: &[u8] = b"ARROW1";
const TRAILER: usize = 4 + MAGIC.len();
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Names under which the schema's metadata says what a part is.
pub(super) const FORMAT_FIELD: &str = "offprint.format";
pub(super) const FINGERPRINT_FIELD: &str = "offprint.fingerprint";
pub(super) const PROVIDER_FIELD: &str = "offprint.provider";
pub(super) const RUNTIME_FIELD: &str = "offprint.runtime_version";
pub(super) const CPU_FIELD: &str = "offprint.cpu";

/// One record batch, its columns as windows into the file's bytes.
#[derive(Debug)]
pub(super) struct Batch {
    pub keys: Buffer,
    pub embeddings: ScalarBuffer<f32>,
    pub n_tokens: ScalarBuffer<u32>,
    pub n_dropped: ScalarBuffer<u32>,
    pub title_cut: BooleanBuffer,
}

impl Batch {
    /// All keys, in the order of the rows.
    pub fn keys(&self) -> &[[u8; Key::BYTES]] {
        self.keys.as_slice().as_chunks().0
    }
}

/// The batches of a part that have rows, in the order of the file, and the part's origin.
#[derive(Debug)]
pub(super) struct Layout {
    pub origin: PartOrigin,
    pub batches: Vec<Batch>,
}

/// Reads the layout of a whole file, which must be a part of this fingerprint and dimension. The order of the keys is
/// not looked at.
pub(super) fn parse(bytes: &Buffer, fingerprint: &str, dim: usize) -> Result<Layout, Damage> {
    let footer = footer(bytes)?;
    if footer.version() != MetadataVersion::V5 {
        return Err(schema_differs("Arrow metadata version", format!("{:?}", footer.version()), "V5"));
    }
    let origin = check_schema(&footer, fingerprint, dim)?;
    let blocks = footer.recordBatches().map(|blocks| blocks.iter()).into_iter().flatten();
    let mut batches = Vec::new();
    for block in blocks {
        let batch = read_batch(bytes, block, dim)?;
        if !batch.keys.is_empty() {
            batches.push(batch);
        }
    }
    Ok(Layout { origin, batches })
}

fn footer(bytes: &Buffer) -> Result<Footer<'_>, Damage> {
    let bytes = bytes.as_slice();
    if bytes.len() < MAGIC.len() + TRAILER {
        return Err(Damage::TooShort { bytes: bytes.len() });
    }
    if !bytes.starts_with(MAGIC) {
        return Err(Damage::Magic { place: "start" });
    }
    let (rest, trailer) = bytes.split_at(bytes.len() - TRAILER);
    let Some(length) = trailer.strip_suffix(MAGIC).and_then(|length| length.try_into().ok()).map(i32::from_le_bytes)
    else {
        return Err(Damage::Magic { place: "end" });
    };
    let start = usize::try_from(length).ok().and_then(|length| rest.len().checked_sub(length)).ok_or_else(|| {
        Damage::Extent { what: "footer length", got: length.into(), expected: format!("at most {}", rest.len()) }
    })?;
    arrow_ipc::root_as_footer(&rest[start..])
        .map_err(|error| Damage::Metadata { what: "footer", source: error.to_string().into() })
}

fn check_schema(footer: &Footer<'_>, fingerprint: &str, dim: usize) -> Result<PartOrigin, Damage> {
    let schema = footer.schema().ok_or_else(|| schema_differs("schema", "missing", "present"))?;
    let entry = |name: &str| {
        let entries = schema.custom_metadata()?;
        let value = entries.iter().find(|entry| entry.key() == Some(name))?.value()?;
        Some(value.to_owned())
    };
    let must = |what, name, expected: &str| match entry(name) {
        Some(value) if value == expected => Ok(()),
        other => Err(schema_differs(what, other.unwrap_or_default(), expected)),
    };
    must("format", FORMAT_FIELD, &CACHE_FORMAT.to_string())?;
    must("fingerprint", FINGERPRINT_FIELD, fingerprint)?;
    if schema.endianness() != Endianness::Little {
        return Err(schema_differs("byte order", format!("{:?}", schema.endianness()), "Little"));
    }
    let columns: Vec<String> = schema.fields().map(|fields| fields.iter().map(describe).collect()).unwrap_or_default();
    let expected = format!(
        "key: fixed_size_binary[{}], embedding: fixed_size_list<float>[{dim}], \
         n_tokens: uint32, n_dropped: uint32, title_cut: bool",
        Key::BYTES
    );
    let columns = columns.join(", ");
    if columns != expected {
        return Err(schema_differs("list of columns", columns, expected));
    }
    let origin = |name| entry(name).unwrap_or_default();
    Ok(PartOrigin { provider: origin(PROVIDER_FIELD), runtime_version: origin(RUNTIME_FIELD), cpu: origin(CPU_FIELD) })
}

fn schema_differs(what: &'static str, got: impl Into<String>, expected: impl Into<String>) -> Damage {
    Damage::Schema { what, got: got.into(), expected: expected.into() }
}

fn describe(field: Field<'_>) -> String {
    let nullable = if field.nullable() { " (nullable)" } else { "" };
    format!("{}: {}{nullable}", field.name().unwrap_or_default(), describe_type(field))
}

fn describe_type(field: Field<'_>) -> String {
    let known = match field.type_type() {
        Type::FixedSizeBinary => {
            field.type_as_fixed_size_binary().map(|kind| format!("fixed_size_binary[{}]", kind.byteWidth()))
        }
        Type::FixedSizeList => field.type_as_fixed_size_list().and_then(|kind| {
            let child = field.children().filter(|children| children.len() == 1)?.get(0);
            Some(format!("fixed_size_list<{}>[{}]", describe_type(child), kind.listSize()))
        }),
        Type::Int => field.type_as_int().map(|kind| {
            let sign = if kind.is_signed() { "int" } else { "uint" };
            format!("{sign}{}", kind.bitWidth())
        }),
        Type::FloatingPoint => field
            .type_as_floating_point()
            .filter(|kind| kind.precision() == Precision::SINGLE)
            .map(|_| "float".to_owned()),
        Type::Bool => Some("bool".to_owned()),
        _ => None,
    };
    known.filter(|_| field.dictionary().is_none()).unwrap_or_else(|| format!("{:?}", field.type_type()))
}

fn read_batch(bytes: &Buffer, block: &Block, dim: usize) -> Result<Batch, Damage> {
    let header_length = i64::from(block.metaDataLength());
    let header = window(bytes, "record batch header", block.offset(), header_length)?;
    let body = window(bytes, "record batch body", block.offset() + header_length, block.bodyLength())?;
    let message = header
        .as_slice()
        .strip_prefix(&CONTINUATION)
        .and_then(|rest| rest.split_at_checked(4))
        .map(|(_, message)| message)
        .ok_or_else(|| Damage::Extent {
            what: "record batch header length",
            got: header_length,
            expected: "a continuation mark and a header".into(),
        })?;
    let message = arrow_ipc::root_as_message(message)
        .map_err(|error| Damage::Metadata { what: "record batch header", source: error.to_string().into() })?;
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| schema_differs("message", format!("{:?}", message.header_type()), "RecordBatch"))?;
    if batch.compression().is_some() {
        return Err(schema_differs("record batch", "compressed", "uncompressed"));
    }
    read_columns(&body, &batch, dim)
}

/// The buffers of a batch in the order of the format: for each column, and for the list's values, a validity bitmap
/// (unused: no column is nullable) and then the data, which a list itself has not.
fn read_columns(body: &Buffer, batch: &RecordBatch<'_>, dim: usize) -> Result<Batch, Damage> {
    const KEY: usize = 1;
    const EMBEDDING: usize = 4;
    const N_TOKENS: usize = 6;
    const N_DROPPED: usize = 8;
    const TITLE_CUT: usize = 10;
    let rows = usize::try_from(batch.length())
        .ok()
        .filter(|rows| rows.checked_mul(dim).and_then(|values| values.checked_mul(4)).is_some_and(|b| b <= body.len()))
        .ok_or_else(|| Damage::Extent {
            what: "number of rows",
            got: batch.length(),
            expected: format!("at most {}", body.len() / 4 / dim),
        })?;
    let values = rows * dim;
    let nodes = batch.nodes().map(|nodes| nodes.iter()).into_iter().flatten();
    let shape: Vec<(i64, i64)> = nodes.map(|node| (node.length(), node.null_count())).collect();
    let expected = [rows, rows, values, rows, rows, rows].map(|length| (length as i64, 0));
    if shape != expected {
        return Err(schema_differs("column shape", format!("{shape:?}"), format!("{expected:?}")));
    }
    let column = |index: usize, length: usize, alignment: usize| {
        let buffers = batch.buffers().filter(|buffers| buffers.len() > TITLE_CUT);
        let buffer = buffers.as_ref().map(|buffers| buffers.get(index));
        let (offset, stored) = buffer.map_or((0, 0), |buffer| (buffer.offset(), buffer.length()));
        let found = window(body, "column", offset, stored)?;
        if found.len() < length || found.as_ptr().align_offset(alignment) != 0 {
            return Err(Damage::Extent {
                what: "column length",
                got: stored,
                expected: format!("{length} bytes, aligned to {alignment}"),
            });
        }
        Ok(found.slice_with_length(0, length))
    };
    Ok(Batch {
        keys: column(KEY, rows * Key::BYTES, 1)?,
        embeddings: column(EMBEDDING, values * 4, 4)?.into(),
        n_tokens: column(N_TOKENS, rows * 4, 4)?.into(),
        n_dropped: column(N_DROPPED, rows * 4, 4)?.into(),
        title_cut: BooleanBuffer::new(column(TITLE_CUT, rows.div_ceil(8), 1)?, 0, rows),
    })
}

/// The part of `bytes` that a length and a position in the file ask for.
fn window(bytes: &Buffer, what: &'static str, offset: i64, length: i64) -> Result<Buffer, Damage> {
    let start = usize::try_from(offset).ok().filter(|start| *start <= bytes.len());
    let Some(start) = start else {
        return Err(Damage::Extent { what, got: offset, expected: format!("a position up to {}", bytes.len()) });
    };
    let room = bytes.len() - start;
    match usize::try_from(length).ok().filter(|length| *length <= room) {
        Some(length) => Ok(bytes.slice_with_length(start, length)),
        None => Err(Damage::Extent { what, got: length, expected: format!("at most {room} bytes") }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::RowMeta;
    use super::super::part::RowRef;
    use super::super::space::Space;
    use super::super::writer::PartWriter;
    use super::*;

    const DIM: usize = 3;
    const ROWS: u8 = 9;

    fn part_bytes() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let space = Space { fingerprint: "f".into(), dim: DIM, fields: Default::default() };
        let mut writer = PartWriter::create(folder.path(), &space, &PartOrigin::default()).unwrap();
        for row in 0..ROWS {
            let meta = RowMeta { n_tokens: row.into(), ..RowMeta::default() };
            writer.push(RowRef { key: Key([row; Key::BYTES]), embedding: &[row.into(); DIM], meta }).unwrap();
        }
        std::fs::read(writer.publish().unwrap()).unwrap()
    }

    /// Touches the first and last byte of every column; the number of rows.
    fn touch(layout: &Layout) -> usize {
        let rows = layout.batches.iter().map(|batch| {
            let rows = batch.keys().len();
            assert_eq!(batch.embeddings.len(), rows * DIM);
            let ends = [0, rows - 1]
                .map(|row| (batch.keys()[row], batch.embeddings[row * DIM], batch.n_tokens[row], batch.n_dropped[row]));
            assert!(batch.title_cut.len() == rows && ends.len() == 2);
            rows
        });
        rows.sum()
    }

    #[test]
    fn columns_lie_aligned_in_the_bytes_and_are_not_copied() {
        let bytes = Buffer::from(part_bytes());
        let layout = parse(&bytes, "f", DIM).unwrap();
        let batch = &layout.batches[0];
        assert_eq!(touch(&layout), usize::from(ROWS));
        let columns = [&batch.keys, batch.embeddings.inner(), batch.n_tokens.inner(), batch.n_dropped.inner()];
        for column in columns.into_iter().chain([batch.title_cut.inner()]) {
            let offset = column.as_ptr() as usize - bytes.as_ptr() as usize;
            assert!(offset < bytes.len() && offset.is_multiple_of(64), "{offset}");
        }
    }

    #[test]
    fn other_dimensions_and_fingerprints_are_told_apart() {
        let bytes = Buffer::from(part_bytes());
        let damage = parse(&bytes, "f", 4).unwrap_err().to_string();
        assert!(
            damage.starts_with(
                "its list of columns is `key: fixed_size_binary[16], embedding: fixed_size_list<float>[3],"
            )
        );
        assert!(
            damage.contains("expected `key: fixed_size_binary[16], embedding: fixed_size_list<float>[4],"),
            "{damage}"
        );
        assert_eq!(parse(&bytes, "g", DIM).unwrap_err().to_string(), "its fingerprint is `f`, expected `g`");
        assert_eq!(
            parse(&Buffer::from(vec![0_u8; 0]), "f", DIM).unwrap_err().to_string(),
            "it has 0 bytes, too few for an Arrow file"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn changed_bytes_give_a_layout_within_the_file_or_an_error(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        ) {
            static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(part_bytes);
            let mut bytes = BYTES.clone();
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(layout) = parse(&Buffer::from(bytes), "f", DIM) {
                touch(&layout);
            }
        }
    }
}
