//! The header of a safetensors file. Layout: 8 bytes header length (little-endian), JSON header, data; offsets count
//! from the data's start. Every entry is checked against the file and against the others.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::fmt;

use safetensors::tensor::{Dtype, TensorInfo};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Error;
use super::weights::{Element, Entry, MappedFile};

/// The format's own bound on the header.
const MAX_HEADER: u64 = 100_000_000;
/// The key whose value is no tensor.
const METADATA: &str = "__metadata__";

/// The tensors of a file: sizes, offsets, overlaps, shape × type of each are checked.
pub(super) fn entries(file: &MappedFile) -> Result<BTreeMap<String, Entry>, Error> {
    let (path, size) = (&file.path, file.map.len());
    let header_error = |problem: String| Error::WeightsHeader { path: path.clone(), problem };
    let Some(length) = file.map.get(..8) else {
        return Err(header_error(format!("it has {size} bytes, the header's length alone takes 8")));
    };
    let length = length.iter().rev().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
    if length > MAX_HEADER || length > size as u64 - 8 {
        return Err(header_error(format!("its header claims {length} bytes, the file has {size}")));
    }
    let data_start = 8 + length as usize;
    let tensors = parse_header(&file.map[8..data_start])
        .map_err(|source| Error::WeightsHeaderJson { path: path.clone(), source })?;
    check(file, &tensors, size - data_start)?;
    let entry = |info: TensorInfo| Entry {
        element: element(info.dtype),
        start: data_start + info.data_offsets.0,
        shape: info.shape,
        strides: None,
    };
    Ok(tensors.into_iter().map(|(name, info)| (name, entry(info))).collect())
}

fn check(file: &MappedFile, tensors: &BTreeMap<String, TensorInfo>, data_size: usize) -> Result<(), Error> {
    let entry = |tensor: &str, problem: String| Error::TensorEntry {
        path: file.path.clone(),
        tensor: tensor.to_owned(),
        problem,
    };
    let mut ranges: Vec<(usize, usize, &str)> = Vec::with_capacity(tensors.len());
    for (name, info) in tensors {
        let (start, end) = info.data_offsets;
        if start > end || end > data_size {
            return Err(entry(name, format!("lies at bytes {start}..{end}, the file's data has {data_size}")));
        }
        let count = info.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let bits = count.and_then(|count| count.checked_mul(info.dtype.bitsize()));
        if bits != (end - start).checked_mul(8) {
            let problem = format!("has shape {:?} of {:?} but {} bytes", info.shape, info.dtype, end - start);
            return Err(entry(name, problem));
        }
        ranges.push((start, end, name));
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let [(_, end, before), (start, _, name)] = [pair[0], pair[1]];
        if start < end {
            return Err(entry(name, format!("begins at byte {start}, inside `{before}`, which ends at {end}")));
        }
    }
    Ok(())
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        other => Element::Other(format!("{other:?}")),
    }
}

fn parse_header(bytes: &[u8]) -> Result<BTreeMap<String, TensorInfo>, serde_json::Error> {
    struct Header(BTreeMap<String, TensorInfo>);

    impl<'de> Deserialize<'de> for Header {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(HeaderVisitor).map(Self)
        }
    }

    serde_json::from_slice(bytes).map(|Header(entries)| entries)
}

/// Reads entry by entry, so that a header takes no more memory than its entries, and skips what is no entry.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = BTreeMap<String, TensorInfo>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with an entry for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        let mut has_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                map.next_value::<IgnoredAny>()?;
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(A::Error::custom(format_args!("`{METADATA}` stands there twice")));
                }
                continue;
            }
            match entries.entry(name) {
                Place::Occupied(entry) => {
                    return Err(A::Error::custom(format_args!("tensor `{}` stands there twice", entry.key())));
                }
                Place::Vacant(entry) => entry.insert(map.next_value::<TensorInfo>()?),
            };
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::model::{Tensor, Weights};

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn open(bytes: &[u8]) -> Result<Weights, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        fs::write(&path, bytes).unwrap();
        Weights::open(&path)
    }

    fn read(tensor: Tensor<'_>, values: &mut Vec<f32>) {
        tensor.read(0..tensor.count(), values).unwrap();
    }

    fn refusal(bytes: &[u8]) -> String {
        let text = open(bytes).unwrap_err().to_string();
        let start = text.find("`/").unwrap() + 1;
        let end = text.find("model.safetensors").unwrap();
        format!("{}{}", &text[..start], &text[end..])
    }

    #[test]
    fn a_share_is_some_of_the_rows() {
        let header = r#"{"a": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]}}"#;
        let data: Vec<u8> =
            [0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN, 7.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let weights = open(&file(header, &data)).unwrap();
        let whole = weights.tensor("a", &[4, 2]).unwrap();
        let mut values = Vec::new();
        let first = whole.share(0, 2);
        assert_eq!((first.shape(), first.count()), (vec![2, 2], 4));
        read(first, &mut values);
        assert_eq!(values, [0.0, 1.0, 2.0, 3.0]);
        let second = whole.share(1, 2);
        second.read(0..2, &mut values).unwrap();
        assert_eq!(values, [4.0, 5.0]);
        // The place that a message names is the one in the file.
        let error = second.read(2..4, &mut values).unwrap_err();
        assert!(matches!(error, Error::NotFinite { index: 6, count: 8, .. }), "{error:?}");
        assert!(std::panic::catch_unwind(|| whole.share(0, 3)).is_err());
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
        read(weights.tensor("a", &[2]).unwrap(), &mut values);
        assert_eq!(values, [1.5, -2.25]);
        read(weights.tensor("b", &[1, 2]).unwrap(), &mut values);
        assert_eq!(values, [1.0, -2.5]);
        read(weights.tensor("c", &[]).unwrap(), &mut values);
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
    fn a_name_that_stands_twice_is_refused() {
        let entry = r#"{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}"#;
        let cause = |header: &str| {
            let error = open(&file(header, &[0; 4])).unwrap_err();
            std::error::Error::source(&error).unwrap().to_string()
        };
        let twice = cause(&format!(r#"{{"a": {entry}, "a": {entry}}}"#));
        assert!(twice.starts_with("tensor `a` stands there twice at line 1"), "{twice}");
        let twice = cause(&format!(r#"{{"__metadata__": {{}}, "a": {entry}, "__metadata__": {{}}}}"#));
        assert!(twice.starts_with("`__metadata__` stands there twice at line 1"), "{twice}");
    }

    #[test]
    fn metadata_is_skipped_whatever_it_holds() {
        let header = r#"{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": [[], {"b": 1}]}"#;
        assert_eq!(open(&file(header, &[0; 4])).unwrap().names().collect::<Vec<_>>(), ["a"]);
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
            let error = weights.tensor("w", &[3]).unwrap().read(0..3, &mut Vec::new()).unwrap_err();
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
