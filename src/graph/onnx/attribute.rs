//! A node's attribute. The large and the recursive kinds are boxed, so that the plain ones stay small in memory.

use prost::Message;
use prost::bytes::Bytes;

use super::{GraphProto, SparseTensorProto, TensorProto, TypeProto};

/// `AttributeProto.AttributeType` of the kinds that occur in our graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
enum AttributeType {
    Float = 1,
    Int = 2,
    String = 3,
    Ints = 7,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributeProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub s: Option<Bytes>,
    #[prost(message, optional, boxed, tag = "5")]
    pub t: Option<Box<TensorProto>>,
    #[prost(message, optional, boxed, tag = "6")]
    pub g: Option<Box<GraphProto>>,
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub floats: Vec<f32>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub strings: Vec<Bytes>,
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    #[prost(string, optional, tag = "13")]
    pub doc_string: Option<String>,
    #[prost(message, optional, boxed, tag = "14")]
    pub tp: Option<Box<TypeProto>>,
    #[prost(message, repeated, tag = "15")]
    pub type_protos: Vec<TypeProto>,
    #[prost(int32, optional, tag = "20")]
    pub r#type: Option<i32>,
    #[prost(string, optional, tag = "21")]
    pub ref_attr_name: Option<String>,
    #[prost(message, optional, boxed, tag = "22")]
    pub sparse_tensor: Option<Box<SparseTensorProto>>,
    #[prost(message, repeated, tag = "23")]
    pub sparse_tensors: Vec<SparseTensorProto>,
}

impl AttributeProto {
    pub(crate) fn int(name: &str, value: i64) -> Self {
        Self { i: Some(value), ..Self::of(name, AttributeType::Int) }
    }

    pub(crate) fn ints(name: &str, values: &[i64]) -> Self {
        Self { ints: values.to_vec(), ..Self::of(name, AttributeType::Ints) }
    }

    pub(crate) fn float(name: &str, value: f32) -> Self {
        Self { f: Some(value), ..Self::of(name, AttributeType::Float) }
    }

    pub(crate) fn text(name: &str, value: &str) -> Self {
        Self { s: Some(Bytes::copy_from_slice(value.as_bytes())), ..Self::of(name, AttributeType::String) }
    }

    fn of(name: &str, kind: AttributeType) -> Self {
        Self { name: Some(name.to_owned()), r#type: Some(kind as i32), ..Self::default() }
    }
}
