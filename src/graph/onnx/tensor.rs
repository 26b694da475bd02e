//! Tensors: what a constant holds, and the types of its elements.

use std::fmt;

use prost::Message;
use prost::bytes::Bytes;

use super::StringStringEntryProto;

/// `TensorProto.DataLocation` of a tensor whose bytes lie in another file.
pub(crate) const EXTERNAL: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, optional, tag = "2")]
    pub data_type: Option<i32>,
    #[prost(message, optional, tag = "3")]
    pub segment: Option<TensorSegment>,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub string_data: Vec<Bytes>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, optional, tag = "8")]
    pub name: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub raw_data: Option<Bytes>,
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    #[prost(string, optional, tag = "12")]
    pub doc_string: Option<String>,
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    #[prost(int32, optional, tag = "14")]
    pub data_location: Option<i32>,
    #[prost(message, repeated, tag = "16")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorSegment {
    #[prost(int64, optional, tag = "1")]
    pub begin: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    pub end: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SparseTensorProto {
    #[prost(message, optional, tag = "1")]
    pub values: Option<TensorProto>,
    #[prost(message, optional, tag = "2")]
    pub indices: Option<TensorProto>,
    #[prost(int64, repeated, packed = "false", tag = "3")]
    pub dims: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorAnnotation {
    #[prost(string, optional, tag = "1")]
    pub tensor_name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub quant_parameter_tensor_names: Vec<StringStringEntryProto>,
}

impl TensorProto {
    /// A constant of little-endian bytes.
    pub(crate) fn of_bytes(name: &str, element: ElementType, dims: &[i64], bytes: Bytes) -> Self {
        Self {
            dims: dims.to_vec(),
            data_type: Some(element as i32),
            name: Some(name.to_owned()),
            raw_data: Some(bytes),
            ..Self::default()
        }
    }

    /// The type of its elements; `None` for one that the standard does not name.
    pub(crate) fn element(&self) -> Option<ElementType> {
        ElementType::of_number(self.data_type.unwrap_or_default())
    }

    /// Whether its bytes lie in another file.
    pub(crate) fn is_external(&self) -> bool {
        self.data_location == Some(EXTERNAL)
    }

    /// How many numbers its shape has room for; `None` for a shape that is none, or too large for any machine.
    pub(crate) fn count(&self) -> Option<u64> {
        let size = |size: &i64| u64::try_from(*size).ok();
        self.dims.iter().try_fold(1_u64, |product, next| product.checked_mul(size(next)?))
    }

    /// The elements of the typed lists, little-endian, as `raw_data` would hold them.
    pub(crate) fn typed_bytes(&self) -> Vec<u8> {
        // Small types stand in `int32_data`, one a number (those below a byte: a byte a number).
        let bits = self.element().and_then(ElementType::bits).unwrap_or(32);
        let width = usize::from(bits.div_ceil(8)).min(4);
        let mut bytes = Vec::new();
        bytes.extend(self.float_data.iter().flat_map(|value| value.to_le_bytes()));
        for value in &self.int32_data {
            bytes.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        bytes.extend(self.int64_data.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(self.double_data.iter().flat_map(|value| value.to_le_bytes()));
        let wide = self.element() != Some(ElementType::Uint32);
        for value in &self.uint64_data {
            bytes.extend_from_slice(&value.to_le_bytes()[..if wide { 8 } else { 4 }]);
        }
        bytes
    }

    /// Numbers of a weight; 0 for integers that address or shape something, and for constants without dimensions.
    pub(crate) fn weights(&self) -> u64 {
        let is_weight = self.element().is_some_and(ElementType::holds_weights) && !self.dims.is_empty();
        if is_weight { self.count().unwrap_or(0) } else { 0 }
    }

    /// Bytes that its elements take in little-endian form, packed where they are smaller than a byte; `None` for texts,
    /// unknown types and shapes that are none.
    pub(crate) fn byte_len(&self) -> Option<u64> {
        let bits = u64::from(self.element()?.bits()?);
        Some(self.count()?.checked_mul(bits)?.div_ceil(8))
    }
}

/// `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub(crate) enum ElementType {
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    Text = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    Uint32 = 12,
    Uint64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    Bfloat16 = 16,
    Float8E4m3fn = 17,
    Float8E4m3fnuz = 18,
    Float8E5m2 = 19,
    Float8E5m2fnuz = 20,
    Uint4 = 21,
    Int4 = 22,
    Float4E2m1 = 23,
    Float8E8m0 = 24,
    Uint2 = 25,
    Int2 = 26,
    Float6E2m3 = 27,
    Float6E3m2 = 28,
}

impl ElementType {
    /// Each type with its name and the bits of an element; a text has no fixed length.
    const ALL: [(Self, &'static str, Option<u8>); 28] = [
        (Self::Float, "float32", Some(32)),
        (Self::Uint8, "uint8", Some(8)),
        (Self::Int8, "int8", Some(8)),
        (Self::Uint16, "uint16", Some(16)),
        (Self::Int16, "int16", Some(16)),
        (Self::Int32, "int32", Some(32)),
        (Self::Int64, "int64", Some(64)),
        (Self::Text, "string", None),
        (Self::Bool, "bool", Some(8)),
        (Self::Float16, "float16", Some(16)),
        (Self::Double, "float64", Some(64)),
        (Self::Uint32, "uint32", Some(32)),
        (Self::Uint64, "uint64", Some(64)),
        (Self::Complex64, "complex64", Some(64)),
        (Self::Complex128, "complex128", Some(128)),
        (Self::Bfloat16, "bfloat16", Some(16)),
        (Self::Float8E4m3fn, "float8e4m3fn", Some(8)),
        (Self::Float8E4m3fnuz, "float8e4m3fnuz", Some(8)),
        (Self::Float8E5m2, "float8e5m2", Some(8)),
        (Self::Float8E5m2fnuz, "float8e5m2fnuz", Some(8)),
        (Self::Uint4, "uint4", Some(4)),
        (Self::Int4, "int4", Some(4)),
        (Self::Float4E2m1, "float4e2m1", Some(4)),
        (Self::Float8E8m0, "float8e8m0", Some(8)),
        (Self::Uint2, "uint2", Some(2)),
        (Self::Int2, "int2", Some(2)),
        (Self::Float6E2m3, "float6e2m3", Some(6)),
        (Self::Float6E3m2, "float6e3m2", Some(6)),
    ];

    /// The type of that number in the standard.
    pub(crate) fn of_number(number: i32) -> Option<Self> {
        Self::ALL.iter().map(|(element, ..)| *element).find(|element| *element as i32 == number)
    }

    /// Bits of one element; `None` for texts.
    pub(crate) fn bits(self) -> Option<u8> {
        self.row().2
    }

    /// Whether weights are kept in it, quantized ones too; the rest is for places, counts and masks.
    pub(crate) fn holds_weights(self) -> bool {
        let others = [Self::Int16, Self::Int32, Self::Int64, Self::Uint16, Self::Uint32, Self::Uint64];
        !others.contains(&self) && self != Self::Text && self != Self::Bool
    }

    fn row(self) -> &'static (Self, &'static str, Option<u8>) {
        &Self::ALL[self as usize - 1]
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.row().1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_their_numbers() {
        for number in 1..=28 {
            let element = ElementType::of_number(number).unwrap();
            assert_eq!(element.row().0 as i32, number);
        }
        assert_eq!((ElementType::of_number(0), ElementType::of_number(29)), (None, None));
        assert_eq!((ElementType::Float16.to_string(), ElementType::Text.bits()), ("float16".to_owned(), None));
    }

    #[test]
    fn a_shape_that_no_machine_holds_has_no_length() {
        let tensor = |element: ElementType, dims: &[i64]| TensorProto::of_bytes("t", element, dims, Bytes::new());
        assert_eq!(tensor(ElementType::Float, &[2, 3]).byte_len(), Some(24));
        assert_eq!(tensor(ElementType::Int4, &[3]).byte_len(), Some(2));
        assert_eq!(tensor(ElementType::Int64, &[]).byte_len(), Some(8));
        assert_eq!(tensor(ElementType::Float, &[-1]).byte_len(), None);
        assert_eq!(tensor(ElementType::Float, &[i64::MAX, 4]).byte_len(), None);
        assert_eq!(tensor(ElementType::Text, &[1]).byte_len(), None);
        assert_eq!(tensor(ElementType::Float, &[i64::MAX, 0]).byte_len(), Some(0));
    }
}
