//! The table of word embeddings: found in a graph as the table that token ids gather rows from, or among a checkpoint's
//! tensors by its name. Rows are read one at a time where they lie. Knows no tokenizer.

use std::collections::HashMap;

use prost::bytes::Bytes;

use super::super::Error;
use super::super::foreign::OnnxFile;
use super::super::onnx::{ElementType, GraphProto, NodeProto, TensorProto};
use crate::model::{Checkpoint, Tensor};

/// Steps that are followed from a Gather to the input that it reads; casts and reshapes lie between the two.
const STEPS: usize = 8;

/// A table with a row for each word piece.
#[derive(Debug)]
pub struct WordTable<'a> {
    name: String,
    rows: usize,
    width: usize,
    numbers: Numbers<'a>,
}

#[derive(Debug)]
enum Numbers<'a> {
    /// Little-endian, side by side; whole numbers are counted from the zero point.
    Stored {
        bytes: Bytes,
        element: ElementType,
        zero: f32,
    },
    Checkpoint(Tensor<'a>),
}

impl<'a> WordTable<'a> {
    /// The table of a graph.
    ///
    /// # Errors
    /// No table is gathered from by an input, its numbers are of a type that isn't read, or its bytes aren't to be had.
    pub fn of_graph(file: &'a OnnxFile) -> Result<Self, Error> {
        let graph = file.graph();
        let no_table = || Error::NoWordTable { path: file.path().to_owned() };
        let (tensor, gather) = find(graph).ok_or_else(no_table)?;
        let name = tensor.name.clone().unwrap_or_default();
        let [rows, width] = sizes(tensor).ok_or_else(no_table)?;
        let read = [
            ElementType::Float,
            ElementType::Double,
            ElementType::Float16,
            ElementType::Bfloat16,
            ElementType::Uint8,
            ElementType::Int8,
        ];
        let element =
            tensor.element().filter(|element| read.contains(element)).ok_or_else(|| Error::WordTableType {
                path: file.path().to_owned(),
                tensor: name.clone(),
                got: tensor.element().map_or_else(|| "an unknown type".to_owned(), |element| element.to_string()),
            })?;
        let zero = zero_point(graph, gather);
        let zero = zero.map(|zero| file.tensor_bytes(zero)).transpose()?.and_then(|bytes| bytes.first().copied());
        let zero =
            zero.map_or(0.0, |byte| if element == ElementType::Int8 { f32::from(byte as i8) } else { f32::from(byte) });
        let bytes = file.tensor_bytes(tensor)?;
        Ok(Self { name, rows, width, numbers: Numbers::Stored { bytes, element, zero } })
    }

    /// The table of a checkpoint.
    ///
    /// # Errors
    /// The weights have no tensor of that name, or not one of the size that config.json says.
    pub fn of_checkpoint(checkpoint: &'a Checkpoint) -> Result<Self, Error> {
        let (config, weights) = (checkpoint.config(), checkpoint.weights());
        let ending = format!("{}.weight", config.architecture.embeddings.words);
        let found = weights.names().find(|name| name.ends_with(&ending)).map(str::to_owned);
        let name = found.unwrap_or(ending);
        let tensor = weights.tensor(&name, &[config.vocab_size, config.embedding_size])?;
        let (rows, width) = (config.vocab_size, config.embedding_size);
        Ok(Self { name, rows, width, numbers: Numbers::Checkpoint(tensor) })
    }

    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many word pieces it has a row for.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How long a row is.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Replaces `values` by a row. Those of a quantized table lack its scale, which changes no angle.
    ///
    /// # Errors
    /// A number in the checkpoint that isn't finite. Panics on a row that isn't there.
    pub fn row(&self, index: usize, values: &mut Vec<f32>) -> Result<(), Error> {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        match &self.numbers {
            Numbers::Checkpoint(tensor) => Ok(tensor.read(index * self.width..(index + 1) * self.width, values)?),
            Numbers::Stored { bytes, element, zero } => {
                let row = bytes.len() / self.rows;
                decode(*element, &bytes[index * row..(index + 1) * row], *zero, values);
                Ok(())
            }
        }
    }
}

fn decode(element: ElementType, bytes: &[u8], zero: f32, values: &mut Vec<f32>) {
    values.clear();
    let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match element {
        ElementType::Double => values
            .extend(bytes.chunks_exact(8).map(|eight| f64::from_le_bytes(eight.try_into().unwrap_or_default()) as f32)),
        ElementType::Float16 => values.extend(pairs().map(|pair| half::f16::from_le_bytes(pair).to_f32())),
        ElementType::Bfloat16 => values.extend(pairs().map(|pair| half::bf16::from_le_bytes(pair).to_f32())),
        ElementType::Uint8 => values.extend(bytes.iter().map(|byte| f32::from(*byte) - zero)),
        ElementType::Int8 => values.extend(bytes.iter().map(|byte| f32::from(*byte as i8) - zero)),
        _ => values.extend(bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap_or_default()))),
    }
}

/// Rows and columns of a table that has some.
fn sizes(tensor: &TensorProto) -> Option<[usize; 2]> {
    let [rows, width] = tensor.dims[..] else { return None };
    let size = |size: i64| usize::try_from(size).ok().filter(|size| *size > 0);
    Some([size(rows)?, size(width)?])
}

/// The largest table that an input which isn't about places or kinds of tokens gathers from, and the node that does it.
fn find(graph: &GraphProto) -> Option<(&TensorProto, &NodeProto)> {
    let tensors: HashMap<&str, &TensorProto> =
        graph.initializer.iter().filter_map(|tensor| Some((tensor.name.as_deref()?, tensor))).collect();
    let makers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node))).collect();
    let ids: Vec<&str> = graph
        .input
        .iter()
        .filter_map(|input| input.name.as_deref())
        .filter(|name| {
            !tensors.contains_key(name)
                && !["type", "segment", "position", "mask"].iter().any(|word| name.contains(word))
        })
        .collect();
    let table = |node: &'_ NodeProto| {
        let (table, index) = match node.op_type.as_deref()? {
            "Gather" => (0, 1),
            // Ids come first here, the table of words third.
            "EmbedLayerNormalization" | "QEmbedLayerNormalization" => (2, 0),
            _ => return None,
        };
        let index = origin(node.input.get(index)?, &makers, |name| ids.contains(&name))?;
        ids.contains(&index).then_some(())?;
        let stored = origin(node.input.get(table)?, &makers, |name| tensors.contains_key(name))?;
        tensors.get(stored).copied().filter(|tensor| sizes(tensor).is_some())
    };
    let found = graph.node.iter().filter_map(|node| Some((table(node)?, node)));
    found.max_by_key(|(tensor, _)| tensor.dims.first().copied())
}

/// Follows a value back through the first inputs of what made it, as far as `is_it`.
fn origin<'g>(
    name: &'g str,
    makers: &HashMap<&'g str, &'g NodeProto>,
    is_it: impl Fn(&str) -> bool,
) -> Option<&'g str> {
    let mut name = name;
    for _ in 0..STEPS {
        if is_it(name) {
            return Some(name);
        }
        name = makers.get(name)?.input.first()?;
    }
    None
}

/// The zero point by which the rows of a quantized table are read.
fn zero_point<'g>(graph: &'g GraphProto, gather: &NodeProto) -> Option<&'g TensorProto> {
    let name = if gather.op_type.as_deref() == Some("QEmbedLayerNormalization") {
        // Inputs from the ninth on are scales, then zero points in the order of the tables.
        gather.input.get(13)?
    } else {
        let touches = |node: &&NodeProto| {
            let data = node.input.first();
            node.op_type.as_deref() == Some("DequantizeLinear")
                && (data == gather.output.first() || node.output.first() == gather.input.first())
        };
        graph.node.iter().find(touches)?.input.get(2)?
    };
    graph.initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name) && tensor.count() == Some(1))
}
