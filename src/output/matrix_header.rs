//! What stands before the numbers in a matrix file: NumPy's `.npy`, safetensors, and `.fbin` of the nearest-neighbour tools.
//!
//! Each header has room for any row count, so that it can be written before the count is known and once more at the
//! end. In `.npy` and safetensors the numbers begin at a multiple of 64 bytes, so that a mapped file is aligned;
//! `.fbin` has 8 bytes by definition.

/// Numbers begin at a multiple of this many bytes where the format leaves it to the writer.
const ALIGNMENT: usize = 64;
/// Magic, version, length (2 bytes) and the padded dictionary of `.npy`.
const NPY_BYTES: usize = 128;
/// Length of the JSON text in front of a safetensors file.
const SAFETENSORS_LENGTH_BYTES: usize = 8;

/// A header of a matrix of little-endian f32 in row-major order.
#[derive(Debug)]
pub(super) enum MatrixHeader {
    /// NumPy's format 1.0.
    Npy,
    /// One tensor `embeddings`.
    Safetensors {
        /// The JSON object under `__metadata__`.
        metadata: String,
    },
    /// Rows and columns as 32-bit integers.
    Fbin,
}

impl MatrixHeader {
    /// A safetensors header with these names and values in its metadata, in this order.
    pub(super) fn safetensors(metadata: &[(&str, &str)]) -> Self {
        let pairs: Vec<String> =
            metadata.iter().map(|(name, value)| format!("{}:{}", json(name), json(value))).collect();
        Self::Safetensors { metadata: format!("{{{}}}", pairs.join(",")) }
    }

    /// The header of `rows` × `dim`; its length depends on `dim` alone.
    pub(super) fn bytes(&self, rows: u64, dim: usize) -> Vec<u8> {
        match self {
            Self::Npy => npy(rows, dim),
            Self::Safetensors { metadata } => {
                let largest = safetensors_json(metadata, u64::MAX, dim).len();
                let length =
                    (SAFETENSORS_LENGTH_BYTES + largest).next_multiple_of(ALIGNMENT) - SAFETENSORS_LENGTH_BYTES;
                let mut bytes = (length as u64).to_le_bytes().to_vec();
                bytes.extend(safetensors_json(metadata, rows, dim).into_bytes());
                bytes.resize(SAFETENSORS_LENGTH_BYTES + length, b' ');
                bytes
            }
            // Rows are at most `most_rows`, and no encoder has 2³¹ dimensions.
            Self::Fbin => [rows as u32, dim as u32].iter().flat_map(|number| number.to_le_bytes()).collect(),
        }
    }

    /// Rows that the format can count; readers of `.fbin` take its numbers for signed ones.
    pub(super) fn most_rows(&self) -> u64 {
        match self {
            Self::Npy | Self::Safetensors { .. } => u64::MAX,
            Self::Fbin => i32::MAX as u64,
        }
    }
}

fn npy(rows: u64, dim: usize) -> Vec<u8> {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((NPY_BYTES as u16 - 10).to_le_bytes());
    // Two numbers of at most 20 digits each leave room to spare.
    header.extend(format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}").into_bytes());
    header.resize(NPY_BYTES - 1, b' ');
    header.push(b'\n');
    header
}

fn safetensors_json(metadata: &str, rows: u64, dim: usize) -> String {
    let end = u128::from(rows) * dim as u128 * size_of::<f32>() as u128;
    let tensor = format!("{{\"dtype\":\"F32\",\"shape\":[{rows},{dim}],\"data_offsets\":[0,{end}]}}");
    format!("{{\"__metadata__\":{metadata},\"embeddings\":{tensor}}}")
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn the_largest_npy_header_fits() {
        let largest = npy(u64::MAX, usize::MAX);
        assert!(largest.ends_with(b", }\n") || largest.ends_with(b" \n"));
        assert_eq!(10 + usize::from(u16::from_le_bytes([largest[8], largest[9]])), 128);
        assert_eq!(NPY_BYTES % ALIGNMENT, 0);
    }

    #[test]
    fn fbin_is_two_numbers() {
        assert_eq!(MatrixHeader::Fbin.bytes(258, 3), [2, 1, 0, 0, 3, 0, 0, 0]);
        assert_eq!(MatrixHeader::Fbin.most_rows(), 2_147_483_647);
    }

    proptest! {
        #[test]
        fn a_safetensors_header_keeps_its_length_and_its_text(
            rows in 0_u64..50, dim in 1_usize..2_000, encoder in "\\PC{0,40}",
        ) {
            let header = MatrixHeader::safetensors(&[("offprint.encoder", &encoder)]);
            let mut bytes = header.bytes(rows, dim);
            prop_assert_eq!(bytes.len(), header.bytes(u64::MAX, dim).len());
            prop_assert_eq!(bytes.len() % ALIGNMENT, 0);
            bytes.resize(bytes.len() + rows as usize * dim * 4, 7);
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let tensor = file.tensor("embeddings").unwrap();
            prop_assert_eq!(tensor.shape(), &[rows as usize, dim]);
            prop_assert_eq!(tensor.data().len(), rows as usize * dim * 4);
            let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
            prop_assert_eq!(&metadata.metadata().as_ref().unwrap()["offprint.encoder"], &encoder);
        }
    }
}
