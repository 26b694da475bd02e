//! From the ONNX file of another program to a bundle's three files. The graph keeps its nodes; around them come what the
//! session feeds (two int64 inputs) and what it reads (pooling, normalization, probabilities). Owns the order of the
//! steps; everything that can be refused without reading weights is refused first.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::adapt::{self, Adapted};
use super::layout::{self, Layout, Row, Source as Embedding};
use super::{Error, ModelWriter, OnnxFile, behind, names};
use crate::graph::encoder::Ending;
use crate::graph::export::{CREATED_BY, write_files};
use crate::graph::onnx::{ElementType, GraphProto, ModelProto, TensorProto, is_standard};
use crate::graph::{Error as GraphError, ExportOptions};
use crate::model::{
    BUNDLE_FORMAT, Classification, Companion, GraphHead, Manifest, Pooling, Precision, SENTENCE_EMBEDDING, SeenPooling,
};

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
    /// What was seen of a graph that pools by itself, on a bundle of [`write_pooling_probe`]. If `None`, how such a graph
    /// pools is taken from what is said of it, and the manifest says so.
    pub seen: Option<SeenPooling>,
}

/// Writes `model.onnx`, `tokenizer.json` and `bundle.toml` into the existing folder `into`, and before them
/// `model.onnx.data` where one file can't hold the weights. The manifest does not promise the same bits in any batch.
///
/// # Errors
/// A file that is broken or laid out in another way than is understood, companions that are missing or contradict it,
/// a pooling or normalization that was asked for and is not that of a graph that pools by itself, more nodes than one file
/// holds.
pub fn import_onnx(options: &ImportOptions, into: &Path) -> Result<Manifest, GraphError> {
    let opened = Opened::new(options)?;
    let said = said(options, &opened)?;
    opened.write(options, (said, None), into)
}

/// Writes a bundle that shows how a graph pools that gives an embedding and not token states: behind each embedding, its
/// rows hold what either pooling makes of the states, [batch, 3 dim]. Nothing is written, and the answer is no, where the
/// file gives states, or none can be told behind its embedding.
///
/// # Errors
/// As [`import_onnx`].
pub fn write_pooling_probe(options: &ImportOptions, into: &Path) -> Result<bool, GraphError> {
    let opened = Opened::new(options)?;
    let Embedding::Ready(row) = &opened.layout.source else { return Ok(false) };
    let dim = opened.dim()?;
    let Some(states) = behind::states(opened.file.graph(), &row.name, dim) else { return Ok(false) };
    let ending = Ending { pooling: Pooling::Mean, normalize: false };
    opened.write(options, (Said { ending, stated: false }, Some(&states)), into)?;
    Ok(true)
}

/// How the vectors of a bundle come about.
struct Said {
    ending: Ending,
    /// Whether the pooling is only what was said of a graph that pools by itself.
    stated: bool,
}

/// The pooling and the normalization of the new bundle: what is added to token states, or what a graph that pools by
/// itself was seen to do, which nothing that was asked for may contradict.
fn said(options: &ImportOptions, Opened { companion, layout, .. }: &Opened) -> Result<Said, GraphError> {
    let asked = &options.export;
    let normalize = companion.normalize(asked.normalize);
    let Embedding::Ready(row) = &layout.source else {
        return Ok(Said { ending: Ending { pooling: companion.pooling(asked.pooling)?, normalize }, stated: false });
    };
    let contradiction =
        |asked: String, got: String| Error::Pooled { path: options.file.clone(), output: row.name.clone(), asked, got };
    let seen = options.seen.unwrap_or_default();
    if seen.normalized && asked.normalize == Some(false) {
        return Err(
            contradiction("vectors as the encoder makes them".to_owned(), "has length 1 already".to_owned()).into()
        );
    }
    let of_modules = companion.pooling(None).ok();
    let pooling = match (seen.pooling, asked.pooling.or(of_modules)) {
        (Some(seen), Some(said)) if seen != said => {
            return Err(contradiction(format!("pooling {said}"), format!("is made by pooling {seen}")).into());
        }
        (Some(seen), _) => seen,
        (None, _) => companion.pooling(asked.pooling)?,
    };
    if let (None, Some(modules)) = (seen.pooling, of_modules.filter(|modules| *modules != pooling)) {
        let got = format!("is made by pooling {modules}, as `1_Pooling/config.json` says");
        return Err(contradiction(format!("pooling {pooling}"), got).into());
    }
    let normalize = normalize || seen.normalized;
    Ok(Said { ending: Ending { pooling, normalize }, stated: seen.pooling.is_none() })
}

/// A file and what lies beside it, looked through; no weights have been read.
struct Opened {
    companion: Companion,
    file: OnnxFile,
    layout: Layout,
}

impl Opened {
    fn new(options: &ImportOptions) -> Result<Self, GraphError> {
        let companion = Companion::open(&options.export.checkpoint)?;
        let file = OnnxFile::open(&options.file)?;
        let path = file.path();
        let unsound = |problem: String| Error::Unsound { path: path.to_owned(), problem };
        names::check(file.graph()).map_err(unsound)?;
        check_opset(&file)?;
        let layout = layout::find(path, file.graph(), options.output.as_deref())?;
        Ok(Self { companion, file, layout })
    }

    /// The value that the embedding is made of.
    fn row(&self) -> &Row {
        let (Embedding::States(row) | Embedding::Ready(row)) = &self.layout.source;
        row
    }

    /// Length of an embedding.
    fn dim(&self) -> Result<usize, Error> {
        let dim = self.row().size.or_else(|| self.companion.hidden_size());
        dim.ok_or_else(|| Error::NoSize { path: self.file.path().to_owned(), output: self.row().name.clone() })
    }

    /// Writes the bundle, with `beside` pooled behind each embedding where that is asked for.
    fn write(
        &self,
        options: &ImportOptions,
        (said, beside): (Said, Option<&Row>),
        into: &Path,
    ) -> Result<Manifest, GraphError> {
        let Self { companion, file, .. } = self;
        let export = &options.export;
        let max_length = companion.max_length(export.max_length)?;
        companion.check_template(&export.template)?;
        let license = companion.license(export.license.as_deref())?;
        let imported = self.import(said.ending, beside)?;
        let head = ModelProto { graph: None, training_info: Vec::new(), ..file.model().clone() };
        let writer = ModelWriter::fitting(&head, &imported.graph, (export.largest_graph, &options.file))?;
        let data = writer.publish_data(into)?;
        let config_hash = blake3::hash(format!("onnx output={}", self.row().name).as_bytes()).to_hex().to_string();
        let manifest = |graph_hash| Manifest {
            format: BUNDLE_FORMAT,
            created_by: CREATED_BY.to_owned(),
            architecture: companion.architecture().to_owned(),
            dim: imported.dim,
            max_length,
            truncation_side: "right".to_owned(),
            pooling: said.ending.pooling,
            pooling_stated: said.stated,
            normalize: said.ending.normalize,
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
            fused_adapter: None,
            quality: None,
            int8: None,
            heads: imported.classification.iter().map(GraphHead::of_checkpoint).collect(),
            adapters: Vec::new(),
        };
        write_files(into, companion.tokenizer(), |file| writer.write_graph(file), manifest)
    }

    fn import(&self, ending: Ending, beside: Option<&Row>) -> Result<Imported, GraphError> {
        let Self { companion, file, layout } = self;
        let path = file.path();
        let logits = layout.logits.as_ref().filter(|_| beside.is_none());
        let classification = logits.map(|row| labels(path, companion, row)).transpose()?;
        let dim = self.dim()?;
        let first_position = first_position(path, companion, layout)?;
        let mut graph = file.with_weights()?;
        let original: HashSet<String> = graph.constants().filter_map(|tensor| tensor.name.clone()).collect();
        let task = classification.as_ref().map(|classification| (classification.task, classification.labels.len()));
        adapt::adapt(&mut graph, &Adapted { layout, ending, dim, first_position, task, beside });
        let (parameters, precision) = weights(&graph, &original);
        let dim = if beside.is_some() { 3 * dim } else { dim };
        Ok(Imported { dim, parameters, precision, classification, graph })
    }
}

/// A graph that a session takes, and what is said of it.
struct Imported {
    graph: GraphProto,
    dim: usize,
    parameters: u64,
    precision: Precision,
    classification: Option<Classification>,
}

/// How many numbers the weights are, wherever they stand, and in which numbers the graph computes. Of the graph's own
/// constants those count that were in the file; nodes that were added hold none.
fn weights(graph: &GraphProto, original: &HashSet<String>) -> (u64, Precision) {
    let (mut parameters, mut precision) = (0_u64, Precision::Fp32);
    let mut count = |tensor: &TensorProto| {
        let numbers = tensor.weights();
        parameters = parameters.saturating_add(numbers);
        if numbers > 0 && tensor.element() != Some(ElementType::Float) {
            precision = Precision::Mixed;
        }
    };
    let own = |tensor: &&TensorProto| tensor.name.as_ref().is_some_and(|name| original.contains(name));
    graph.constants().filter(own).for_each(&mut count);
    graph.node.iter().for_each(|node| node.each_tensor(&mut count));
    (parameters, precision)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::onnx::{AttributeProto, NodeProto};

    /// 2 numbers beside the nodes, 3 in one, 5 and 7 in the graph inside of another; neither 11 integers nor what was added
    /// count.
    fn graph(element: ElementType) -> GraphProto {
        let tensor = |name: &str, element, count: i64| TensorProto {
            name: Some(name.to_owned()),
            dims: vec![count],
            data_type: Some(element as i32),
            ..TensorProto::default()
        };
        let constant = |value| NodeProto {
            attribute: vec![AttributeProto { t: Some(Box::new(value)), ..AttributeProto::default() }],
            ..NodeProto::default()
        };
        let inner = GraphProto {
            initializer: vec![tensor("inner", element, 5)],
            node: vec![constant(tensor("", element, 7))],
            ..GraphProto::default()
        };
        let branch = AttributeProto { g: Some(Box::new(inner)), ..AttributeProto::default() };
        GraphProto {
            initializer: vec![tensor("own", ElementType::Float, 2), tensor("added", ElementType::Double, 13)],
            node: vec![
                constant(tensor("", element, 3)),
                constant(tensor("", ElementType::Int64, 11)),
                NodeProto { attribute: vec![branch], ..NodeProto::default() },
            ],
            ..GraphProto::default()
        }
    }

    #[test]
    fn weights_are_counted_wherever_they_stand() {
        let own = HashSet::from(["own".to_owned()]);
        for (element, precision) in [(ElementType::Float, Precision::Fp32), (ElementType::Float16, Precision::Mixed)] {
            assert_eq!(weights(&graph(element), &own), (17, precision), "{element}");
        }
        let model = ModelProto { graph: Some(graph(ElementType::Float16)), ..ModelProto::default() };
        let seen = crate::graph::inspect::inspect_model(&model, &Default::default());
        assert_eq!(seen.parameters, 17 + 13, "an inspection counts what stands there, whoever added it");
        assert_eq!(seen.weight_bytes, 2 * 4 + 15 * 2 + 11 * 8 + 13 * 8);
    }
}
