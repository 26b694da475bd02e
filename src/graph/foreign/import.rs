//! From the ONNX file of another program to a bundle's three files. The graph keeps its nodes; around them come what the
//! session feeds (two int64 inputs) and what it reads (pooling, normalization, probabilities). Owns the order of the
//! steps; everything that can be refused without reading weights is refused first.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::adapt::{self, Adapted};
use super::layout::{self, Layout, Row, Source as Embedding};
use super::{Error, ModelWriter, OnnxFile, names};
use crate::graph::encoder::Ending;
use crate::graph::export::{CREATED_BY, write_files};
use crate::graph::onnx::{ElementType, GraphProto, ModelProto, is_standard};
use crate::graph::{Error as GraphError, ExportOptions};
use crate::model::{BUNDLE_FORMAT, Classification, Companion, GraphHead, Manifest, Precision, SENTENCE_EMBEDDING};

/// The oldest version of the standard operators that the added nodes are written in.
const LEAST_OPSET: i64 = 13;

/// An ONNX file, and how it is to become a bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportOptions {
    /// The file.
    pub file: PathBuf,
    /// The output that the embedding is made of; found by name and shape if `None`.
    pub output: Option<String>,
    /// The folder with config, tokenizer and modules (as `checkpoint`), and the choices that shape a vector.
    pub export: ExportOptions,
}

/// Writes `model.onnx`, `tokenizer.json` and `bundle.toml` into the existing folder `into`, and before them
/// `model.onnx.data` where one file can't hold the weights. The manifest does not promise the same bits in any batch.
///
/// # Errors
/// A file that is broken or laid out in another way than is understood, companions that are missing or contradict it,
/// more nodes than one file holds.
pub fn import_onnx(options: &ImportOptions, into: &Path) -> Result<Manifest, GraphError> {
    let companion = Companion::open(&options.export.checkpoint)?;
    let export = &options.export;
    let ending =
        Ending { pooling: companion.pooling(export.pooling)?, normalize: companion.normalize(export.normalize) };
    let max_length = companion.max_length(export.max_length)?;
    companion.check_template(&export.template)?;
    let license = companion.license(export.license.as_deref())?;
    let file = OnnxFile::open(&options.file)?;
    let imported = import(&file, options, (&companion, ending))?;
    let head = ModelProto { graph: None, training_info: Vec::new(), ..file.model().clone() };
    let writer = ModelWriter::fitting(&head, &imported.graph, (export.largest_graph, &options.file))?;
    let data = writer.publish_data(into)?;
    let config_hash = blake3::hash(format!("onnx output={}", imported.source).as_bytes()).to_hex().to_string();
    let manifest = |graph_hash| Manifest {
        format: BUNDLE_FORMAT,
        created_by: CREATED_BY.to_owned(),
        architecture: companion.architecture().to_owned(),
        dim: imported.dim,
        max_length,
        truncation_side: "right".to_owned(),
        pooling: ending.pooling,
        normalize: ending.normalize,
        output: SENTENCE_EMBEDDING.to_owned(),
        template: export.template.clone(),
        sep_token: companion.sep_token(),
        precision: imported.precision,
        batch_invariant: false,
        parameters: imported.parameters,
        tokenizer_hash: blake3::hash(companion.tokenizer()).to_hex().to_string(),
        graph_hash,
        encoder_graph_hash: None,
        license,
        plain: false,
        data,
        source: export.source(file.hash(), config_hash),
        quality: None,
        int8: None,
        heads: imported.classification.iter().map(GraphHead::of_checkpoint).collect(),
    };
    write_files(into, companion.tokenizer(), |file| writer.write_graph(file), manifest)
}

/// A graph that a session takes, and what is said of it.
struct Imported {
    graph: GraphProto,
    dim: usize,
    parameters: u64,
    precision: Precision,
    classification: Option<Classification>,
    /// The value that the embedding is made of.
    source: String,
}

fn import(
    file: &OnnxFile,
    options: &ImportOptions,
    (companion, ending): (&Companion, Ending),
) -> Result<Imported, GraphError> {
    let path = file.path();
    let unsound = |problem: String| Error::Unsound { path: path.to_owned(), problem };
    names::check(file.graph()).map_err(unsound)?;
    check_opset(file)?;
    let layout = layout::find(path, file.graph(), options.output.as_deref())?;
    let classification = layout.logits.as_ref().map(|row| labels(path, companion, row)).transpose()?;
    let (Embedding::States(row) | Embedding::Ready(row)) = &layout.source;
    let dim = row.size.or_else(|| companion.hidden_size());
    let dim = dim.ok_or_else(|| Error::NoSize { path: path.to_owned(), output: row.name.clone() })?;
    let first_position = first_position(path, companion, &layout)?;
    let mut graph = file.with_weights()?;
    let original: HashSet<String> = graph.initializer.iter().filter_map(|tensor| tensor.name.clone()).collect();
    let source = row.name.clone();
    let task = classification.as_ref().map(|classification| (classification.task, classification.labels.len()));
    adapt::adapt(&mut graph, &Adapted { layout: &layout, ending, dim, first_position, task });
    let weights = || {
        let own = |name: &Option<String>| name.as_ref().is_some_and(|name| original.contains(name));
        graph.initializer.iter().filter(move |tensor| own(&tensor.name)).filter(|tensor| !tensor.dims.is_empty())
    };
    let numbers = weights().filter(|tensor| tensor.element().is_some_and(ElementType::holds_weights));
    let parameters = numbers.filter_map(|tensor| tensor.count()).sum();
    let small = weights()
        .any(|tensor| tensor.element().is_some_and(|element| element.holds_weights() && element != ElementType::Float));
    let precision = if small { Precision::Mixed } else { Precision::Fp32 };
    Ok(Imported { dim, parameters, precision, classification, source, graph })
}

fn check_opset(file: &OnnxFile) -> Result<(), Error> {
    let versions = file.model().opset_import.iter();
    let found = versions.filter(|set| is_standard(set.domain.as_deref()));
    let got = found.filter_map(|set| set.version).max().unwrap_or(0);
    if got >= LEAST_OPSET {
        return Ok(());
    }
    Err(Error::Opset { path: file.path().to_owned(), got, least: LEAST_OPSET })
}

/// The labels of config.json, as many as the scores.
fn labels(path: &Path, companion: &Companion, scores: &Row) -> Result<Classification, GraphError> {
    let classification = companion.classification()?;
    let (got, expected) = (classification.labels.len(), scores.size);
    match expected {
        Some(expected) if expected != got => {
            Err(Error::Labels { path: path.to_owned(), output: scores.name.clone(), got, expected }.into())
        }
        _ => Ok(classification),
    }
}

/// Where positions begin, if the file asks for them.
fn first_position(path: &Path, companion: &Companion, layout: &Layout) -> Result<usize, Error> {
    if !layout.inputs.contains_key(adapt::POSITION_IDS) {
        return Ok(0);
    }
    companion.first_position().ok_or_else(|| Error::Positions { path: path.to_owned() })
}
