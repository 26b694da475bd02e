//! A look at the bytes of an ONNX file before they are decoded: every length is compared with what is left, nesting and
//! nodes are counted, and the memory that decoding will take is added up. Follows the messages of `onnx`; a field that
//! is not known there is skipped, as decoding skips it. Takes no memory itself.

use std::mem::size_of;

use crate::graph::onnx::{
    AttributeProto, DeviceConfigurationProto, DimensionProto, FunctionProto, GraphProto, NodeDeviceConfigurationProto,
    NodeProto, ShardingSpecProto, SparseTensorProto, TensorAnnotation, TensorProto, TrainingInfoProto, TypeProto,
    ValueInfoProto,
};

/// Nodes of a model, those of subgraphs and functions included; large encoders have some thousand.
pub(super) const MAX_NODES: usize = 100_000;
/// Messages within messages; a subgraph takes three. Decoding itself stops at 100.
pub(super) const MAX_DEPTH: usize = 64;

/// A file may take this much memory beside its own bytes, and `SMALL_FACTOR` for each of them; ...
const SMALL_FILE: u64 = 1 << 20;
const SMALL_FACTOR: u64 = 32;
/// ... and no more than this, and `LARGE_FACTOR` for each.
const LARGE_FILE: u64 = 256 << 20;
const LARGE_FACTOR: u64 = 4;

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The bytes are no protobuf, or not whole.
    Form(String),
    /// More of something than is read.
    Limit { what: &'static str, limit: u64 },
}

/// The messages, as far as they differ in what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Function,
    Attribute,
    Tensor,
    Sparse,
    Training,
    ValueInfo,
    Type,
    TensorType,
    /// A sequence's or an option's type.
    WrappedType,
    MapType,
    Shape,
    Dimension,
    Annotation,
    /// A node's place on several devices.
    Placement,
    Sharding,
    ShardedDimension,
    NumberList,
    /// Texts and numbers alone.
    Entry,
}

/// What a field holds.
enum Content {
    /// One message, in its place or in a box of its own.
    One(Kind),
    /// Messages in a list.
    Many(Kind),
    /// A text, copied.
    Text,
    /// Texts in a list, copied.
    Texts,
    /// Bytes in a list, not copied.
    Slices,
    /// Numbers in a list: bytes of one in memory, and the least that it takes in the file.
    Numbers(u64, u64),
    /// Takes no memory beside its message: a number, or bytes that are not copied, or nothing that is known.
    Plain,
}

/// Checks the bytes of a model.
pub(super) fn scan(bytes: &[u8]) -> Result<(), Problem> {
    let size = bytes.len() as u64;
    let budget = (SMALL_FILE + SMALL_FACTOR * size).min(LARGE_FILE + LARGE_FACTOR * size);
    let mut scan = Scan { bytes, position: 0, nodes: 0, graphs: 0, budget, left: budget };
    scan.message(Kind::Model, bytes.len(), 0)?;
    match scan.graphs {
        1 => Ok(()),
        0 => Err(Problem::Form(format!("no graph in its {size} bytes"))),
        _ => Err(Problem::Form("more than one graph".to_owned())),
    }
}

struct Scan<'b> {
    bytes: &'b [u8],
    position: usize,
    nodes: usize,
    /// Graphs of the model itself.
    graphs: usize,
    budget: u64,
    left: u64,
}

impl Scan<'_> {
    /// The fields of a message that ends at `end`.
    fn message(&mut self, kind: Kind, end: usize, depth: usize) -> Result<(), Problem> {
        if depth > MAX_DEPTH {
            return Err(Problem::Limit { what: "messages within messages", limit: MAX_DEPTH as u64 });
        }
        let mut seen = 0_u32;
        while self.position < end {
            let start = self.position;
            let key = self.varint(end)?;
            let (number, wire) = (key >> 3, key & 7);
            if number == 0 || number > u64::from(u32::MAX >> 3) {
                return Err(Problem::Form(format!("the field at byte {start} has the number {number}")));
            }
            let first = number < 32 && seen & 1 << number == 0;
            seen |= if number < 32 { 1 << number } else { 0 };
            let content = content(kind, number);
            match wire {
                0 => {
                    self.varint(end)?;
                    self.number(&content, first)?;
                }
                1 | 5 => {
                    self.skip(if wire == 1 { 8 } else { 4 }, end)?;
                    self.number(&content, first)?;
                }
                2 => {
                    let length = self.varint(end)?;
                    if length > (end - self.position) as u64 {
                        let field_end = (self.position as u64).saturating_add(length);
                        let problem =
                            format!("the field at byte {start} ends at byte {field_end}, what it is in at {end}");
                        return Err(Problem::Form(problem));
                    }
                    let field_end = self.position + length as usize;
                    if (kind, number) == (Kind::Model, 7) {
                        self.graphs += 1;
                    }
                    self.field(&content, first, (field_end, depth))?;
                    self.position = field_end;
                }
                _ => return Err(Problem::Form(format!("field {number} at byte {start} has the wire type {wire}"))),
            }
        }
        Ok(())
    }

    /// What stands in a field with a length, up to its end.
    fn field(&mut self, content: &Content, first: bool, (end, depth): (usize, usize)) -> Result<(), Problem> {
        let length = (end - self.position) as u64;
        match *content {
            Content::One(kind) => {
                self.pay(kind.size())?;
                self.message(kind, end, depth + 1)
            }
            Content::Many(kind) => {
                if kind == Kind::Node {
                    self.nodes += 1;
                    if self.nodes > MAX_NODES {
                        return Err(Problem::Limit { what: "nodes", limit: MAX_NODES as u64 });
                    }
                }
                self.pay(listed(kind.size(), first))?;
                self.message(kind, end, depth + 1)
            }
            Content::Text => self.pay(length),
            Content::Texts => self.pay(length + listed(size_of::<String>() as u64, first)),
            Content::Slices => self.pay(listed(size_of::<prost::bytes::Bytes>() as u64, first)),
            Content::Numbers(width, least) => self.pay(listed(width, first).max(2 * width * (length / least))),
            Content::Plain => Ok(()),
        }
    }

    /// A number that stands alone, though it may belong to a list.
    fn number(&mut self, content: &Content, first: bool) -> Result<(), Problem> {
        match content {
            Content::Numbers(width, _) => self.pay(listed(*width, first)),
            _ => Ok(()),
        }
    }

    fn pay(&mut self, bytes: u64) -> Result<(), Problem> {
        let limit = Problem::Limit { what: "bytes of memory beside its weights", limit: self.budget };
        self.left = self.left.checked_sub(bytes).ok_or(limit)?;
        Ok(())
    }

    fn varint(&mut self, end: usize) -> Result<u64, Problem> {
        let start = self.position;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            if self.position == end {
                return Err(Problem::Form(format!("a message ends at byte {end} inside a number")));
            }
            let byte = self.bytes[self.position];
            self.position += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Problem::Form(format!("the number at byte {start} has more than 10 bytes")))
    }

    fn skip(&mut self, length: usize, end: usize) -> Result<(), Problem> {
        if length > end - self.position {
            return Err(Problem::Form(format!("a message ends at byte {end} inside a number")));
        }
        self.position += length;
        Ok(())
    }
}

/// What an element of a list takes: the list begins with room for four and grows by doubling.
fn listed(size: u64, first: bool) -> u64 {
    if first { 4 * size } else { 2 * size }
}

impl Kind {
    /// What it takes in memory, without what its own fields point to.
    fn size(self) -> u64 {
        let size = match self {
            Self::Model | Self::Graph => size_of::<GraphProto>(),
            Self::Node => size_of::<NodeProto>(),
            Self::Function => size_of::<FunctionProto>(),
            Self::Attribute => size_of::<AttributeProto>(),
            Self::Tensor => size_of::<TensorProto>(),
            Self::Sparse => size_of::<SparseTensorProto>(),
            Self::Training => size_of::<TrainingInfoProto>(),
            Self::ValueInfo => size_of::<ValueInfoProto>(),
            Self::Type | Self::TensorType | Self::WrappedType | Self::MapType | Self::Shape => size_of::<TypeProto>(),
            Self::Dimension | Self::ShardedDimension => size_of::<DimensionProto>(),
            Self::Annotation => size_of::<TensorAnnotation>(),
            Self::Placement => size_of::<NodeDeviceConfigurationProto>(),
            Self::Sharding => size_of::<ShardingSpecProto>(),
            // The largest of the small ones.
            Self::NumberList | Self::Entry => size_of::<DeviceConfigurationProto>(),
        };
        size as u64
    }
}

/// What the standard says of a field.
fn content(kind: Kind, number: u64) -> Content {
    use Content::{Many, Numbers, One, Plain, Slices, Text, Texts};
    match (kind, number) {
        (Kind::Model, 7) => One(Kind::Graph),
        (Kind::Model, 20) => Many(Kind::Training),
        (Kind::Model, 25) => Many(Kind::Function),
        (Kind::Model, 8 | 14 | 26) => Many(Kind::Entry),
        (Kind::Model, 2..=4 | 6) => Text,

        (Kind::Graph, 1) | (Kind::Function, 7) => Many(Kind::Node),
        (Kind::Graph, 5) => Many(Kind::Tensor),
        (Kind::Graph, 11..=13) | (Kind::Function, 12) => Many(Kind::ValueInfo),
        (Kind::Graph, 14) => Many(Kind::Annotation),
        (Kind::Graph, 15) => Many(Kind::Sparse),
        (Kind::Graph, 16) => Many(Kind::Entry),
        (Kind::Graph, 2 | 10) => Text,

        (Kind::Node, 1 | 2) | (Kind::Function, 4..=6) => Texts,
        (Kind::Node, 5) | (Kind::Function, 11) => Many(Kind::Attribute),
        (Kind::Node, 9) | (Kind::Function, 9 | 14) => Many(Kind::Entry),
        (Kind::Node, 10) => Many(Kind::Placement),
        (Kind::Node, 3 | 4 | 6..=8) | (Kind::Function, 1 | 8 | 10 | 13) => Text,

        (Kind::Attribute, 5) => One(Kind::Tensor),
        (Kind::Attribute, 6) => One(Kind::Graph),
        (Kind::Attribute, 7) => Numbers(4, 4),
        (Kind::Attribute, 8) => Numbers(8, 1),
        (Kind::Attribute, 9) => Slices,
        (Kind::Attribute, 10) => Many(Kind::Tensor),
        (Kind::Attribute, 11) => Many(Kind::Graph),
        (Kind::Attribute, 14) => One(Kind::Type),
        (Kind::Attribute, 15) => Many(Kind::Type),
        (Kind::Attribute, 22) => One(Kind::Sparse),
        (Kind::Attribute, 23) => Many(Kind::Sparse),
        (Kind::Attribute, 1 | 13 | 21) => Text,

        (Kind::Tensor, 4) => Numbers(4, 4),
        (Kind::Tensor, 5) => Numbers(4, 1),
        (Kind::Tensor, 10) => Numbers(8, 8),
        (Kind::Tensor, 1 | 7 | 11) | (Kind::Sparse, 3) => Numbers(8, 1),
        (Kind::Tensor, 6) => Slices,
        (Kind::Tensor, 13 | 16) | (Kind::Annotation, 2) | (Kind::ValueInfo, 4) => Many(Kind::Entry),
        (Kind::Tensor, 3) => One(Kind::Entry),
        (Kind::Tensor, 8 | 12) | (Kind::Annotation, 1) => Text,
        (Kind::Sparse, 1 | 2) => One(Kind::Tensor),

        (Kind::Training, 1 | 2) => One(Kind::Graph),
        (Kind::Training, 3 | 4) => Many(Kind::Entry),

        (Kind::ValueInfo, 2) => One(Kind::Type),
        (Kind::ValueInfo, 1 | 3) | (Kind::Type, 6) => Text,
        (Kind::Type, 1 | 8) => One(Kind::TensorType),
        (Kind::Type, 4 | 9) => One(Kind::WrappedType),
        (Kind::Type, 5) => One(Kind::MapType),
        (Kind::Type, 7) => One(Kind::Entry),
        (Kind::WrappedType, 1) | (Kind::MapType, 2) => One(Kind::Type),
        (Kind::TensorType, 2) => One(Kind::Shape),
        (Kind::Shape, 1) => Many(Kind::Dimension),
        (Kind::Dimension, 2 | 3) => Text,

        (Kind::Placement, 2) => Many(Kind::Sharding),
        (Kind::Sharding, 2) | (Kind::NumberList, 2) => Numbers(8, 1),
        (Kind::Sharding, 3) => Many(Kind::NumberList),
        (Kind::Sharding, 4) => Many(Kind::ShardedDimension),
        (Kind::ShardedDimension, 2) => Many(Kind::Dimension),
        (Kind::Placement | Kind::Sharding, 1) => Text,
        (Kind::Entry, 1..=3) => Texts,
        _ => Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    #[test]
    fn what_a_list_takes_is_paid_before_it_is_made() {
        // Seven empty attributes of one node: room for four, then for eight.
        let model = field(7, &field(1, &field(5, &[]).repeat(7)));
        let mut paid = Scan { bytes: &model, position: 0, nodes: 0, graphs: 0, budget: 1 << 20, left: 1 << 20 };
        paid.message(Kind::Model, model.len(), 0).unwrap();
        let [graph, node, attribute] = [Kind::Graph, Kind::Node, Kind::Attribute].map(Kind::size);
        assert_eq!((1 << 20) - paid.left, graph + 4 * node + (4 + 6 * 2) * attribute);
        assert_eq!((paid.nodes, paid.graphs), (1, 1));
        let mut poor = Scan { position: 0, nodes: 0, graphs: 0, left: 10 * attribute, ..paid };
        let limit = Problem::Limit { what: "bytes of memory beside its weights", limit: 1 << 20 };
        assert_eq!(poor.message(Kind::Model, model.len(), 0), Err(limit));
    }

    #[test]
    fn fields_that_are_not_known_are_skipped_and_numbers_may_be_packed() {
        let tensor = [field(7, &[1, 2, 3]), vec![0x38, 5], field(15, b"text"), vec![0x95, 0x03, 0, 0, 0, 0]].concat();
        assert_eq!(scan(&field(7, &field(5, &tensor))), Ok(()));
        let cut = scan(&field(7, &field(5, &[0x95, 0x03, 0, 0])));
        assert_eq!(cut, Err(Problem::Form("a message ends at byte 8 inside a number".to_owned())));
    }
}
