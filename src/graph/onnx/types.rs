//! The types of values: tensors with shapes whose sizes may be names, and the rarer kinds.

use std::fmt;

use prost::{Message, Oneof};

use super::{ElementType, StringStringEntryProto};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfoProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
    #[prost(string, optional, tag = "3")]
    pub doc_string: Option<String>,
    #[prost(message, repeated, tag = "4")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TypeProto {
    #[prost(oneof = "TypeValue", tags = "1, 4, 5, 7, 8, 9")]
    pub value: Option<TypeValue>,
    #[prost(string, optional, tag = "6")]
    pub denotation: Option<String>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum TypeValue {
    #[prost(message, tag = "1")]
    Tensor(TensorTypeProto),
    #[prost(message, tag = "4")]
    Sequence(WrappedTypeProto),
    #[prost(message, tag = "5")]
    Map(MapTypeProto),
    #[prost(message, tag = "7")]
    Opaque(OpaqueTypeProto),
    #[prost(message, tag = "8")]
    SparseTensor(TensorTypeProto),
    #[prost(message, tag = "9")]
    Optional(WrappedTypeProto),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorTypeProto {
    #[prost(int32, optional, tag = "1")]
    pub elem_type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// What a sequence or an optional value consists of.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WrappedTypeProto {
    #[prost(message, optional, boxed, tag = "1")]
    pub elem_type: Option<Box<TypeProto>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MapTypeProto {
    #[prost(int32, optional, tag = "1")]
    pub key_type: Option<i32>,
    #[prost(message, optional, boxed, tag = "2")]
    pub value_type: Option<Box<TypeProto>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OpaqueTypeProto {
    #[prost(string, optional, tag = "1")]
    pub domain: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DimensionProto {
    #[prost(oneof = "Dimension", tags = "1, 2")]
    pub value: Option<Dimension>,
    #[prost(string, optional, tag = "3")]
    pub denotation: Option<String>,
}

/// A size, or the name of one that is only known when the graph runs.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub(crate) enum Dimension {
    #[prost(int64, tag = "1")]
    Fixed(i64),
    #[prost(string, tag = "2")]
    Named(String),
}

impl ValueInfoProto {
    /// A tensor input or output of the graph.
    pub(crate) fn tensor(name: &str, element: ElementType, dimensions: Vec<Dimension>) -> Self {
        let dim = dimensions.into_iter().map(|value| DimensionProto { value: Some(value), denotation: None }).collect();
        let tensor = TensorTypeProto { elem_type: Some(element as i32), shape: Some(TensorShapeProto { dim }) };
        let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None });
        Self { name: Some(name.to_owned()), r#type, ..Self::default() }
    }

    /// Its type, where it is a tensor.
    pub(crate) fn tensor_type(&self) -> Option<&TensorTypeProto> {
        match self.r#type.as_ref()?.value.as_ref()? {
            TypeValue::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }
}

impl TensorTypeProto {
    /// The type of its elements; `None` for one that the standard does not name.
    pub(crate) fn element(&self) -> Option<ElementType> {
        ElementType::of_number(self.elem_type.unwrap_or_default())
    }
}

/// As it is said to a user: `int64 [batch, 384]`.
impl fmt::Display for TensorTypeProto {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.element() {
            Some(element) => write!(formatter, "{element} ")?,
            None => write!(formatter, "type {} ", self.elem_type.unwrap_or_default())?,
        }
        let Some(shape) = &self.shape else { return formatter.write_str("of any shape") };
        let size = |dimension: &DimensionProto| match &dimension.value {
            Some(Dimension::Fixed(size)) => size.to_string(),
            Some(Dimension::Named(name)) if !name.is_empty() => name.clone(),
            Some(Dimension::Named(_)) | None => "?".to_owned(),
        };
        write!(formatter, "[{}]", shape.dim.iter().map(size).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for TypeProto {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(TypeValue::Tensor(tensor)) => tensor.fmt(formatter),
            Some(TypeValue::SparseTensor(tensor)) => write!(formatter, "sparse {tensor}"),
            Some(TypeValue::Sequence(_)) => formatter.write_str("a sequence"),
            Some(TypeValue::Optional(_)) => formatter.write_str("an optional value"),
            Some(TypeValue::Map(_)) => formatter.write_str("a map"),
            Some(TypeValue::Opaque(_)) => formatter.write_str("an opaque value"),
            None => formatter.write_str("of no type"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_said_as_users_write_it() {
        let sizes = vec![Dimension::Named("batch".to_owned()), Dimension::Fixed(384), Dimension::Named(String::new())];
        let value = ValueInfoProto::tensor("x", ElementType::Float16, sizes);
        assert_eq!(value.r#type.unwrap().to_string(), "float16 [batch, 384, ?]");
        let any = TensorTypeProto { elem_type: Some(99), shape: None };
        assert_eq!(any.to_string(), "type 99 of any shape");
        assert_eq!(TypeProto::default().to_string(), "of no type");
    }
}
