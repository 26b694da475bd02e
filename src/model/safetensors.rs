//! Weights in a mapped safetensors file. Owns the check of its header; knows no architecture.
//! Invariant: a [`Tensor`] lies inside the file and its bytes are exactly shape × type, so reading it can't fail on
//! bounds. Layout: 8 bytes header length (little-endian), JSON header, data; offsets count from the data's start.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Dtype, TensorInfo};

use super::Error;

/// The format's own bound on the header.
const MAX_HEADER: u64 = 100_000_000;

/// A mapped weights file whose header has been checked.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    map: Mmap,
    data_start: usize,
    tensors: BTreeMap<String, TensorInfo>,
}

/// One tensor of a [`WeightsFile`]: a name, a shape and the bytes, little-endian and not necessarily aligned.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    file: &'a WeightsFile,
    name: &'a str,
    info: &'a TensorInfo,
}

impl WeightsFile {
    /// Maps a file and checks its header: sizes, offsets, overlaps, shape × type of each tensor.
    /// The file must not be shortened while it is open.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        let header_error = |problem: String| Error::WeightsHeader { path: path.to_owned(), problem };
        if size < 8 {
            return Err(header_error(format!("it has {size} bytes, the header's length alone takes 8")));
        }
        #[expect(unsafe_code, reason = "the map is read only; a file that shrinks under it is outside the contract")]
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let mut length = [0; 8];
        length.copy_from_slice(&map[..8]);
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER || length > size - 8 {
            return Err(header_error(format!("its header claims {length} bytes, the file has {size}")));
        }
        let data_start = 8 + length as usize;
        let tensors = parse_header(&map[8..data_start])
            .map_err(|source| Error::WeightsHeaderJson { path: path.to_owned(), source })?;
        let file = Self { path: path.to_owned(), map, data_start, tensors };
        file.check_entries()?;
        Ok(file)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name, whatever its shape.
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        self.tensors.get_key_value(name).map(|(name, info)| Tensor { file: self, name, info })
    }

    /// The tensor of that name, which must have this shape and a type that weights can be read from.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>, Error> {
        let tensor = self.get(name).ok_or_else(|| Error::NoTensor { path: self.path.clone(), tensor: name.to_owned() })?;
        if tensor.info.shape != shape {
            return Err(Error::TensorShape {
                path: self.path.clone(),
                tensor: name.to_owned(),
                got: tensor.info.shape.clone(),
                expected: shape.to_owned(),
            });
        }
        if !matches!(tensor.info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let got = format!("{:?}", tensor.info.dtype);
            return Err(Error::TensorType { path: self.path.clone(), tensor: name.to_owned(), got });
        }
        Ok(tensor)
    }

    /// BLAKE3 of the whole file, in hex. Reads it once.
    pub fn hash(&self) -> String {
        blake3::hash(&self.map).to_hex().to_string()
    }

    fn check_entries(&self) -> Result<(), Error> {
        let data_size = self.map.len() - self.data_start;
        let mut ranges: Vec<(usize, usize, &str)> = Vec::with_capacity(self.tensors.len());
        for (name, info) in &self.tensors {
            let entry = |problem: String| Error::TensorEntry { path: self.path.clone(), tensor: name.clone(), problem };
            let (start, end) = info.data_offsets;
            if start > end || end > data_size {
                return Err(entry(format!("lies at bytes {start}..{end}, the file's data has {data_size}")));
            }
            let count = info.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
            let bits = count.and_then(|count| count.checked_mul(info.dtype.bitsize()));
            if bits != (end - start).checked_mul(8) {
                return Err(entry(format!("has shape {:?} of {:?} but {} bytes", info.shape, info.dtype, end - start)));
            }
            ranges.push((start, end, name));
        }
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            let [(_, end, before), (start, _, name)] = [pair[0], pair[1]];
            if start < end {
                let problem = format!("begins at byte {start}, inside `{before}`, which ends at {end}");
                return Err(Error::TensorEntry { path: self.path.clone(), tensor: name.to_owned(), problem });
            }
        }
        Ok(())
    }
}

fn parse_header(bytes: &[u8]) -> Result<BTreeMap<String, TensorInfo>, serde_json::Error> {
    let mut entries: BTreeMap<String, serde_json::Value> = serde_json::from_slice(bytes)?;
    entries.remove("__metadata__");
    entries.into_iter().map(|(name, entry)| Ok((name, serde_json::from_value(entry)?))).collect()
}

impl<'a> Tensor<'a> {
    /// Its name in the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its shape.
    pub fn shape(&self) -> &'a [usize] {
        &self.info.shape
    }

    /// Replaces `values` by the tensor's numbers in storage order, as f32 (exact for F32, F16 and BF16).
    /// A number that is not finite is an error that names the tensor and the place.
    pub fn read(&self, values: &mut Vec<f32>) -> Result<(), Error> {
        let (start, end) = self.info.data_offsets;
        let bytes = &self.file.map[self.file.data_start + start..self.file.data_start + end];
        values.clear();
        match self.info.dtype {
            Dtype::F32 => {
                values.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            }
            Dtype::F16 => {
                values.extend(bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()));
            }
            Dtype::BF16 => {
                values.extend(bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()));
            }
            other => {
                let (path, tensor) = (self.file.path.clone(), self.name.to_owned());
                return Err(Error::TensorType { path, tensor, got: format!("{other:?}") });
            }
        }
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(index) => Err(Error::NotFinite {
                path: self.file.path.clone(),
                tensor: self.name.to_owned(),
                value: values[index],
                index,
                count: values.len(),
            }),
        }
    }
}
