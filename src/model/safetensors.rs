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
        let tensor =
            self.get(name).ok_or_else(|| Error::NoTensor { path: self.path.clone(), tensor: name.to_owned() })?;
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

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::{any, proptest};

    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn open(bytes: &[u8]) -> Result<WeightsFile, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        fs::write(&path, bytes).unwrap();
        WeightsFile::open(&path)
    }

    fn refusal(bytes: &[u8]) -> String {
        let text = open(bytes).unwrap_err().to_string();
        let start = text.find("`/").unwrap() + 1;
        let end = text.find("model.safetensors").unwrap();
        format!("{}{}", &text[..start], &text[end..])
    }

    #[test]
    fn the_three_float_types_are_read_as_f32() {
        let header = r#"{"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "F16", "shape": [1, 2], "data_offsets": [8, 12]},
            "c": {"dtype": "BF16", "shape": [], "data_offsets": [12, 14]}}"#;
        let mut data = [1.5_f32.to_le_bytes(), (-2.25_f32).to_le_bytes()].concat();
        data.extend([0x00, 0x3c, 0x00, 0xc1, 0x40, 0xc0]);
        let weights = open(&file(header, &data)).unwrap();
        let mut values = Vec::new();
        weights.tensor("a", &[2]).unwrap().read(&mut values).unwrap();
        assert_eq!(values, [1.5, -2.25]);
        weights.tensor("b", &[1, 2]).unwrap().read(&mut values).unwrap();
        assert_eq!(values, [1.0, -2.5]);
        weights.tensor("c", &[]).unwrap().read(&mut values).unwrap();
        assert_eq!(values, [-3.0]);
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_wrong_header_is_an_error_with_both_numbers() {
        let name = "`model.safetensors` is not a valid safetensors file";
        assert_eq!(refusal(&[0; 7]), format!("{name}: it has 7 bytes, the header's length alone takes 8"));
        let mut long = file("{}", &[]);
        long[0] = 3;
        assert_eq!(refusal(&long), format!("{name}: its header claims 3 bytes, the file has 10"));
        assert_eq!(refusal(&[0xff; 16]), format!("{name}: its header claims {} bytes, the file has 16", u64::MAX));
        assert_eq!(refusal(&file("{]", &[])), format!("{name}: its header could not be understood"));
        assert_eq!(refusal(&file(r#"{"a": 1}"#, &[])), format!("{name}: its header could not be understood"));
    }

    #[test]
    fn a_wrong_entry_names_its_tensor() {
        let one = |entry: &str| refusal(&file(&format!(r#"{{"w": {entry}}}"#), &[0; 8]));
        assert_eq!(
            one(r#"{"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}"#),
            "tensor `w` in `model.safetensors` lies at bytes 0..12, the file's data has 8"
        );
        assert_eq!(
            one(r#"{"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}"#),
            "tensor `w` in `model.safetensors` has shape [3] of F32 but 8 bytes"
        );
        let huge = r#"{"dtype": "F32", "shape": [4611686018427387904, 4, 3], "data_offsets": [0, 8]}"#;
        assert!(one(huge).ends_with("of F32 but 8 bytes"));
        assert!(one(r#"{"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}"#).contains("lies at bytes 8..4"));
        let two = r#"{"v": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "w": {"dtype": "F16", "shape": [2], "data_offsets": [3, 7]}}"#;
        assert_eq!(
            refusal(&file(two, &[0; 8])),
            "tensor `w` in `model.safetensors` begins at byte 3, inside `v`, which ends at 4"
        );
    }

    #[test]
    fn a_tensor_that_does_not_fit_the_config_is_named_with_both_shapes() {
        let header = r#"{"w": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
            "i": {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]}}"#;
        let weights = open(&file(header, &[0; 16])).unwrap();
        let problem = |name, shape: &[usize]| {
            let text = weights.tensor(name, shape).unwrap_err().to_string();
            text.split_once("model.safetensors` ").unwrap().1.to_owned()
        };
        assert_eq!(problem("w", &[2, 1]), "has shape [1, 2], config.json asks for [2, 1]");
        assert_eq!(problem("x", &[1]), "has no tensor `x`, which config.json asks for");
        assert_eq!(problem("i", &[1]), "has type I64, supported are: F32, F16, BF16");
    }

    #[test]
    fn a_weight_that_is_no_number_is_named_with_its_place() {
        let header = r#"{"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}"#;
        for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
            let data: Vec<u8> = [1.0, f32::MAX, value].iter().flat_map(|value| value.to_le_bytes()).collect();
            let weights = open(&file(header, &data)).unwrap();
            let error = weights.tensor("w", &[3]).unwrap().read(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().ends_with(&format!("holds {word} at element 2 of 3")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), length in 0_u8..40) {
            if let Some(head) = bytes.get_mut(..8) {
                head.copy_from_slice(&[length, 0, 0, 0, 0, 0, 0, 0]);
            }
            let _ = open(&bytes);
        }

        #[test]
        fn no_entry_makes_it_panic(shape in proptest::collection::vec(any::<usize>(), 0..4), start: usize, end: usize) {
            let header = format!(r#"{{"w": {{"dtype": "F32", "shape": {shape:?}, "data_offsets": [{start}, {end}]}}}}"#);
            let _ = open(&file(&header, &[0; 16]));
        }
    }
}
