//! A file that `torch.save` made (`pytorch_model.bin`): a zip archive with a pickle that describes the tensors and one
//! entry of plain bytes for each storage. Nothing in it is executed (see `pickle`), and storages are read where they lie
//! in the mapped file. A tensor's offset and strides are checked against its storage.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::Error;
use super::pickle::{Global, Id, Object, Pickle, Problem};
use super::weights::{Element, Entry, MappedFile};

/// A description takes about 150 bytes a tensor; this is far beyond any encoder's.
const MAX_PICKLE: usize = 4 << 20;
/// The first bytes of a zip archive.
const ZIP: &[u8] = b"PK\x03\x04";
/// The first bytes of what `torch.save` wrote before version 1.6: a pickled magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";

/// The tensors of the file by name; other values beside them are passed over.
pub(super) fn entries(file: &MappedFile) -> Result<BTreeMap<String, Entry>, Error> {
    let path = &file.path;
    if file.map.starts_with(LEGACY) {
        return Err(Error::LegacyTorch { path: path.clone() });
    }
    if !file.map.starts_with(ZIP) {
        return Err(Error::TorchFile { path: path.clone(), problem: "it is no zip archive".to_owned() });
    }
    let mut archive = Archive::open(path, &file.map)?;
    let bytes = archive.pickle()?;
    let pickle = Pickle::parse(bytes).map_err(|problem| match problem {
        Problem::Global(name) => Error::PickleGlobal { path: path.clone(), name },
        Problem::Form(problem) => Error::TorchFile { path: path.clone(), problem },
    })?;
    let Object::Dict(items) = pickle.root() else {
        return Err(archive.wrong("it holds no tensors by name (it is no `state_dict`)".to_owned()));
    };
    let mut tensors = BTreeMap::new();
    for (key, value) in items {
        if let (Object::Text(name), Some(stored)) = (pickle.get(*key), stored(&pickle, *value)) {
            tensors.insert(name.clone(), archive.tensor(&pickle, name, stored)?);
        }
    }
    if tensors.is_empty() {
        return Err(archive.wrong("it holds no tensors by name (it is no `state_dict`)".to_owned()));
    }
    Ok(tensors)
}

/// The arguments with which a tensor is rebuilt: storage, offset, size, strides and what only training needs.
fn stored(pickle: &Pickle, id: Id) -> Option<&[Id]> {
    let Object::Call(global, arguments) = pickle.get(id) else { return None };
    let Object::Tuple(arguments) = pickle.get(*arguments) else { return None };
    match global {
        Global::RebuildTensor => Some(arguments),
        // A parameter is a tensor with a flag; it is never a parameter of a parameter.
        Global::RebuildParameter => match pickle.get(*arguments.first()?) {
            Object::Call(Global::RebuildTensor, inner) => match pickle.get(*inner) {
                Object::Tuple(inner) => Some(inner),
                _ => None,
            },
            _ => None,
        },
        Global::OrderedDict | Global::Storage(_) => None,
    }
}

/// An opened zip archive over the bytes of a file.
struct Archive<'m> {
    path: &'m Path,
    bytes: &'m [u8],
    zip: ZipArchive<Cursor<&'m [u8]>>,
    /// The folder that all entries lie in, with its slash.
    folder: String,
    /// First byte and length of the storages that were looked up.
    storages: BTreeMap<String, (usize, usize)>,
}

impl<'m> Archive<'m> {
    fn open(path: &'m Path, bytes: &'m [u8]) -> Result<Self, Error> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|source| Error::TorchArchive { path: path.to_owned(), source })?;
        let mut archive = Self { path, bytes, zip, folder: String::new(), storages: BTreeMap::new() };
        let described = |name: &[u8]| name.strip_suffix(b"data.pkl").is_some_and(|folder| folder.ends_with(b"/"));
        let found = archive.zip.file_names_raw().find(|name| described(name)).map(<[u8]>::to_vec);
        let name = found.and_then(|name| String::from_utf8(name).ok());
        let name = name.ok_or_else(|| archive.wrong("it has no `data.pkl` (`torch.save` writes one)".to_owned()))?;
        archive.folder = name.trim_end_matches("data.pkl").to_owned();
        Ok(archive)
    }

    fn wrong(&self, problem: String) -> Error {
        Error::TorchFile { path: self.path.to_owned(), problem }
    }

    /// The description of the tensors, if the file's numbers are little-endian.
    fn pickle(&mut self) -> Result<&'m [u8], Error> {
        if let Some((start, length)) = self.entry("byteorder")?
            && &self.bytes[start..start + length] != b"little"
        {
            return Err(self.wrong("its numbers are not little-endian".to_owned()));
        }
        let (start, length) = self.entry("data.pkl")?.unwrap_or_default();
        if length > MAX_PICKLE {
            let problem = format!("its description takes {length} bytes, at most {MAX_PICKLE} are read");
            return Err(self.wrong(problem));
        }
        Ok(&self.bytes[start..start + length])
    }

    /// First byte and length of an entry, `None` if there is none; it must lie in the file as it is.
    fn entry(&mut self, name: &str) -> Result<Option<(usize, usize)>, Error> {
        let name = format!("{}{name}", self.folder);
        let Some(index) = self.zip.index_for_name(&name) else { return Ok(None) };
        let (start, length, plain) = match self.zip.by_index_raw(index) {
            Ok(entry) => {
                let plain = entry.compression() == CompressionMethod::Stored
                    && !entry.encrypted()
                    && entry.size() == entry.compressed_size();
                (entry.data_start(), entry.size(), plain)
            }
            Err(source) => return Err(Error::TorchArchive { path: self.path.to_owned(), source }),
        };
        if !plain {
            let problem = format!("its entry `{name}` is compressed or encrypted, which `torch.save` never does");
            return Err(self.wrong(problem));
        }
        let place = start.and_then(|start| usize::try_from(start).ok()).zip(usize::try_from(length).ok());
        match place.filter(|(start, length)| start.checked_add(*length).is_some_and(|end| end <= self.bytes.len())) {
            Some(place) => Ok(Some(place)),
            None => {
                let size = self.bytes.len();
                Err(self.wrong(format!("its entry `{name}` claims {length} bytes, the file has {size}")))
            }
        }
    }

    fn tensor(&mut self, pickle: &Pickle, name: &str, stored: &[Id]) -> Result<Entry, Error> {
        let path = self.path;
        let wrong = |problem: &str| Error::TensorEntry {
            path: path.to_owned(),
            tensor: name.to_owned(),
            problem: problem.to_owned(),
        };
        let [storage, offset, size, strides, ..] = stored else {
            return Err(wrong("is described by too few values"));
        };
        let (word, key, claimed) = storage_of(pickle, *storage).ok_or_else(|| wrong("has no storage"))?;
        let numbers = (number(pickle, *offset), sizes(pickle, *size), sizes(pickle, *strides));
        let (Some(offset), Some(shape), Some(strides)) = numbers else {
            return Err(wrong("has an offset, shape or strides that are no whole numbers from 0 on"));
        };
        if shape.len() != strides.len() {
            return Err(wrong(&format!("has shape {shape:?} but strides {strides:?}")));
        }
        let (start, length) = self.storage(key)?.ok_or_else(|| wrong(&format!("has no storage `data/{key}`")))?;
        let (element, width) = element(word);
        let available = length / width;
        if claimed > available {
            return Err(wrong(&format!("has a storage of {claimed} elements, the file holds {available} of them")));
        }
        if !fits(offset, &shape, &strides, available) {
            let layout = format!("offset {offset}, shape {shape:?} and strides {strides:?}");
            return Err(wrong(&format!("has {layout}, its storage holds {available} elements")));
        }
        let strides = if is_row_major(&shape, &strides) { None } else { Some(strides) };
        Ok(Entry { element, shape, start: start + offset * width, strides })
    }

    /// First byte and length of a storage.
    fn storage(&mut self, key: &str) -> Result<Option<(usize, usize)>, Error> {
        if let Some(place) = self.storages.get(key) {
            return Ok(Some(*place));
        }
        let place = self.entry(&format!("data/{key}"))?;
        if let Some(place) = place {
            self.storages.insert(key.to_owned(), place);
        }
        Ok(place)
    }
}

/// The word for a storage's elements, its key and how many elements it claims to have: `("storage", type, key, device,
/// count)`.
fn storage_of(pickle: &Pickle, id: Id) -> Option<(&'static str, &str, usize)> {
    let Object::Persistent(id) = pickle.get(id) else { return None };
    let Object::Tuple(parts) = pickle.get(*id) else { return None };
    let [kind, element, key, _, count] = parts.as_slice() else { return None };
    match (pickle.get(*kind), pickle.get(*element), pickle.get(*key)) {
        (Object::Text(kind), Object::Global(Global::Storage(word)), Object::Text(key)) if kind == "storage" => {
            Some((word, key, number(pickle, *count)?))
        }
        _ => None,
    }
}

/// A type by its word, and the bytes of an element.
fn element(word: &str) -> (Element, usize) {
    match word {
        "F32" => (Element::F32, 4),
        "F16" => (Element::F16, 2),
        "BF16" => (Element::Bf16, 2),
        other => {
            let width = match other {
                "F64" | "I64" => 8,
                "I32" => 4,
                "I16" => 2,
                _ => 1,
            };
            (Element::Other(other.to_owned()), width)
        }
    }
}

fn number(pickle: &Pickle, id: Id) -> Option<usize> {
    match pickle.get(id) {
        Object::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

fn sizes(pickle: &Pickle, id: Id) -> Option<Vec<usize>> {
    match pickle.get(id) {
        Object::Tuple(items) if items.len() <= 8 => items.iter().map(|id| number(pickle, *id)).collect(),
        _ => None,
    }
}

/// Whether every element lies within `available` elements, and there are no more of them than that: strides of 0 would
/// make any number out of one.
fn fits(offset: usize, shape: &[usize], strides: &[usize], available: usize) -> bool {
    let Some(count) = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)) else { return false };
    if count == 0 {
        return offset <= available;
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(offset, |place, (size, stride)| place.checked_add((size - 1).checked_mul(*stride)?));
    count <= available && last.is_some_and(|last| last < available)
}

fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1_usize;
    for (size, stride) in shape.iter().zip(strides).rev() {
        if *size != 1 && *stride != expected {
            return false;
        }
        expected = expected.saturating_mul(*size);
    }
    true
}
