//! The weights of a checkpoint: one or several mapped files with named tensors, whatever their format. Knows no
//! architecture. Invariant: an [`Entry`] lies inside its file and has no more elements than bytes for them there, so
//! reading a [`Tensor`] can't fail on bounds and takes no more memory than the file has bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::{Error, safetensors, shards, torch_file};

/// Files that weights are looked for in, the first that is there wins.
pub const WEIGHTS_FILES: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// The mapped weights of a checkpoint; all headers have been checked.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, (usize, Entry)>,
}

/// A file of weights.
#[derive(Debug)]
pub(super) struct MappedFile {
    pub path: PathBuf,
    pub map: Mmap,
}

/// Where a tensor lies in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub element: Element,
    pub shape: Vec<usize>,
    /// First byte, counted from the start of the file.
    pub start: usize,
    /// Elements from one index to the next, for each dimension; `None` if elements lie side by side.
    pub strides: Option<Vec<usize>>,
}

/// The type of a tensor's elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
    Bf16,
    /// A type that weights can't be read from, by its name.
    Other(String),
}

/// One tensor of a checkpoint, or some of its rows: a name, a shape and its numbers.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    file: &'a MappedFile,
    name: &'a str,
    entry: &'a Entry,
    /// Which of how many equal shares of the rows.
    share: (usize, usize),
}

impl Weights {
    /// Maps the weights in a folder and checks their headers. `None` if none of [`WEIGHTS_FILES`] is there.
    pub fn in_folder(folder: &Path) -> Result<Option<Self>, Error> {
        let found = WEIGHTS_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        found.map(|path| Self::open(&path)).transpose()
    }

    /// Maps a safetensors file, a file that `torch.save` made, or the index of several of either, by the file's name.
    /// The files must not be shortened while they are open.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.extension().is_some_and(|ending| ending == "json") {
            return shards::open(path);
        }
        let (file, entries) = open_file(path)?;
        let tensors = entries.into_iter().map(|(name, entry)| (name, (0, entry))).collect();
        Ok(Self { path: path.to_owned(), files: vec![file], tensors })
    }

    /// Put together from files that are already open.
    pub(super) fn from_parts(path: &Path, files: Vec<MappedFile>, tensors: BTreeMap<String, (usize, Entry)>) -> Self {
        Self { path: path.to_owned(), files, tensors }
    }

    /// The file, or the index of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name, whatever its shape.
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        let (name, (file, entry)) = self.tensors.get_key_value(name)?;
        Some(Tensor { file: &self.files[*file], name, entry, share: (0, 1) })
    }

    /// The tensor of that name, which must have this shape and a type that weights can be read from.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>, Error> {
        let missing = || Error::NoTensors { path: self.path.clone(), tensors: vec![name.to_owned()] };
        let tensor = self.get(name).ok_or_else(missing)?;
        if tensor.entry.shape != shape {
            return Err(Error::TensorShape {
                path: tensor.file.path.clone(),
                tensor: name.to_owned(),
                got: tensor.entry.shape.clone(),
                expected: shape.to_owned(),
            });
        }
        match &tensor.entry.element {
            Element::Other(got) => Err(tensor.wrong_type(got)),
            _ => Ok(tensor),
        }
    }

    /// BLAKE3 of the whole file, in hex; of several files, the BLAKE3 of theirs in the order of their names. Reads
    /// them once.
    pub fn hash(&self) -> String {
        let hash = |file: &MappedFile| blake3::hash(&file.map).to_hex().to_string();
        match self.files.as_slice() {
            [file] => hash(file),
            files => blake3::hash(files.iter().map(hash).collect::<String>().as_bytes()).to_hex().to_string(),
        }
    }
}

/// Maps one file and finds its tensors.
pub(super) fn open_file(path: &Path) -> Result<(MappedFile, BTreeMap<String, Entry>), Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    #[expect(unsafe_code, reason = "the map is read only; a file that shrinks under it is outside the contract")]
    let map = unsafe { Mmap::map(&file) }.map_err(read)?;
    let file = MappedFile { path: path.to_owned(), map };
    let entries = if path.extension().is_some_and(|ending| ending == "safetensors") {
        safetensors::entries(&file)?
    } else {
        torch_file::entries(&file)?
    };
    Ok((file, entries))
}

impl Element {
    /// Bytes of one element of a type that can be read.
    fn width(&self) -> Option<usize> {
        match self {
            Self::F32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::Other(_) => None,
        }
    }
}

impl<'a> Tensor<'a> {
    /// Its name in the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its shape.
    pub fn shape(&self) -> Vec<usize> {
        let mut shape = self.entry.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows /= self.share.1;
        }
        shape
    }

    /// The type of its elements, as `float32`; of a type that isn't read, the file's own name for it.
    pub fn type_name(&self) -> String {
        match &self.entry.element {
            Element::F32 => "float32".to_owned(),
            Element::F16 => "float16".to_owned(),
            Element::Bf16 => "bfloat16".to_owned(),
            Element::Other(name) => name.clone(),
        }
    }

    /// How many elements it has.
    pub fn count(&self) -> usize {
        self.entry.shape.iter().product::<usize>() / self.share.1
    }

    /// Share `index` of `of` equal shares of the rows. Panics if the rows can't be shared so.
    pub fn share(self, index: usize, of: usize) -> Self {
        let rows = self.entry.shape.first().copied().unwrap_or(1);
        assert!(index < of && rows.is_multiple_of(of), "share {index} of {of} of `{}`", self.name);
        Self { share: (index, of), ..self }
    }

    /// Replaces `values` by the elements of `range`, counted row by row, as f32 (exact for F32, F16 and BF16).
    /// A number that is not finite is an error that names the tensor and the place. Panics on a range that does not
    /// lie inside the tensor.
    pub fn read(&self, range: Range<usize>, values: &mut Vec<f32>) -> Result<(), Error> {
        assert!(range.start <= range.end && range.end <= self.count(), "{range:?} of `{}`", self.name);
        let before = self.share.0 * self.count();
        let range = before + range.start..before + range.end;
        values.clear();
        let Some(width) = self.entry.element.width() else {
            return Err(self.wrong_type(&format!("{:?}", self.entry.element)));
        };
        let bytes = &self.file.map[self.entry.start..];
        match &self.entry.strides {
            None => self.decode(&bytes[range.start * width..range.end * width], values),
            Some(strides) => {
                for index in range.clone() {
                    let at = self.place(index, strides) * width;
                    self.decode(&bytes[at..at + width], values);
                }
            }
        }
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(index) => Err(Error::NotFinite {
                path: self.file.path.clone(),
                tensor: self.name.to_owned(),
                value: values[index],
                index: range.start + index,
                count: self.entry.shape.iter().product(),
            }),
        }
    }

    /// Appends the numbers that `bytes` hold.
    fn decode(&self, bytes: &[u8], values: &mut Vec<f32>) {
        match self.entry.element {
            Element::F32 => values.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            Element::F16 => {
                values.extend(bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()));
            }
            Element::Bf16 => {
                values.extend(bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()));
            }
            Element::Other(_) => {}
        }
    }

    /// Elements from the first to the one of that number.
    fn place(&self, mut index: usize, strides: &[usize]) -> usize {
        let mut place = 0;
        for (size, stride) in self.entry.shape.iter().zip(strides).rev() {
            place += index % size * stride;
            index /= size;
        }
        place
    }

    fn wrong_type(&self, got: &str) -> Error {
        Error::TensorType { path: self.file.path.clone(), tensor: self.name.to_owned(), got: got.to_owned() }
    }
}
