//! Heads become a part of a bundle's graph: on `sentence_embedding`, all behind one run of the encoder. Knows linear heads
//! as numbers, no head files. Invariant: nodes and constants of the old graph stay as they are, so the encoder in the new
//! one computes the same bits.

use std::path::Path;

use super::Error;
use super::builder::GraphBuilder;
use super::export::{CREATED_BY, MAX_GRAPH_BYTES, failed, write_files};
use super::foreign::{ModelWriter, OnnxFile};
use super::fused_head;
use super::onnx::{AttributeProto, Dimension, ElementType, GraphProto, NodeProto, ValueInfoProto};
use crate::model::{
    self, Bundle, Conformal, DATA_FILE, GraphHead, HeadActivation, LOGITS, Manifest, PROBABILITIES, Task,
};

/// A head to be fused: the values of its labels are `embedding · weights + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearHead {
    /// What it is called among the bundle's heads.
    pub name: String,
    /// What its answers are for.
    pub task: Task,
    /// What makes answers of the values.
    pub activation: HeadActivation,
    /// One for each value.
    pub labels: Vec<String>,
    /// As in [`GraphHead`].
    pub thresholds: Option<Vec<f64>>,
    /// As in [`GraphHead`].
    pub abstain: Option<Vec<f64>>,
    /// As in [`GraphHead`].
    pub conformal: Option<Conformal>,
    /// dim × labels, row by row.
    pub weights: Vec<f64>,
    /// One for each label.
    pub bias: Vec<f64>,
    /// BLAKE3 of the head file, where it comes from one.
    pub file_hash: Option<String>,
    /// How the texts were made that it was trained on.
    pub trained_with: String,
    /// Whether it was trained on another encoder than the bundle's.
    pub encoder_changed: bool,
    /// The one of the bundle's several adapters that it answers for.
    pub adapter: Option<String>,
    /// The head file's licence, where it names one.
    pub license: Option<String>,
    /// Whether it computes in f64: exact, but not every provider can.
    pub wide: bool,
}

impl LinearHead {
    /// Length of the embeddings that it takes.
    pub(super) fn dim(&self) -> usize {
        self.weights.len() / self.labels.len()
    }
}

/// Writes the files of `bundle` with `heads` in its graph into the existing folder `into`. Outputs are `logits` and
/// `probabilities` for the only head of the new bundle; else `<name>_logits` and `<name>_probabilities`, and heads that
/// were there keep theirs. Weights stream from the old graph to the new one.
///
/// # Errors
/// A damaged bundle, a head for vectors of another length or with values that are not finite, and names that are taken;
/// each found before anything is written.
pub fn fuse(bundle: &Bundle, heads: &[LinearHead], into: &Path) -> Result<Manifest, Error> {
    fuse_within(MAX_GRAPH_BYTES, bundle, heads, into)
}

/// The new graph may have up to `largest` bytes; weights of a larger one go into a data file, unless they lie in one.
fn fuse_within(largest: u64, bundle: &Bundle, heads: &[LinearHead], into: &Path) -> Result<Manifest, Error> {
    bundle.verify_graph()?;
    let file = OnnxFile::open(&bundle.graph_path())?;
    let mut manifest = with_heads(&bundle.manifest, heads)?;
    let old_data = bundle.manifest.data.is_some();
    let mut graph = if old_data { file.graph().clone() } else { file.with_weights()? };
    for (head, described) in heads.iter().zip(&manifest.heads[bundle.manifest.heads.len()..]) {
        append(&mut graph, head, described)?;
    }
    let writer = if old_data {
        ModelWriter::new(file.model(), &graph).within_limit(&bundle.dir)?
    } else {
        ModelWriter::fitting(file.model(), &graph, (largest, &bundle.dir))?
    };
    manifest.data = writer.publish_data(into)?.or(manifest.data);
    if old_data {
        let path = into.join(DATA_FILE);
        std::fs::copy(bundle.dir.join(DATA_FILE), &path).map_err(failed(&path))?;
    }
    let tokenizer = bundle.tokenizer_path();
    let tokenizer = std::fs::read(&tokenizer).map_err(|source| model::Error::Read { path: tokenizer, source })?;
    write_files(into, &tokenizer, |file| writer.write_graph(file), |graph_hash| Manifest { graph_hash, ..manifest })
}

/// The manifest of the new bundle, apart from its graph's hash.
fn with_heads(old: &Manifest, heads: &[LinearHead]) -> Result<Manifest, Error> {
    let mut manifest = old.clone();
    manifest.created_by = CREATED_BY.to_owned();
    manifest.encoder_graph_hash = Some(old.encoder_graph().to_owned());
    let alone = old.heads.len() + heads.len() == 1;
    for head in heads {
        check_numbers(head, old.dim)?;
        if manifest.heads.iter().any(|other| other.name == head.name) {
            return Err(Error::HeadNameTaken { head: head.name.clone() });
        }
        manifest.heads.push(described(head, alone));
        manifest.parameters += (head.weights.len() + head.bias.len()) as u64;
    }
    manifest.format = manifest.oldest_format();
    match manifest.heads_problem() {
        Some((field, got, expected)) => Err(Error::Heads { field, got, expected }),
        None => Ok(manifest),
    }
}

fn check_numbers(head: &LinearHead, dim: usize) -> Result<(), Error> {
    let LinearHead { labels, weights, bias, .. } = head;
    if labels.is_empty() || weights.len() != dim * labels.len() || bias.len() != labels.len() {
        let got = (weights.len(), bias.len());
        return Err(Error::HeadSize { head: head.name.clone(), got, dim, labels: labels.len() });
    }
    match weights.iter().chain(bias).find(|value| !(**value as f32).is_finite()) {
        Some(&value) => Err(Error::HeadNotFinite { head: head.name.clone(), value }),
        None => Ok(()),
    }
}

fn described(head: &LinearHead, alone: bool) -> GraphHead {
    let output = |kind: &str| if alone { kind.to_owned() } else { format!("{}_{kind}", head.name) };
    GraphHead {
        name: head.name.clone(),
        task: head.task,
        labels: head.labels.clone(),
        thresholds: head.thresholds.clone(),
        abstain: head.abstain.clone(),
        conformal: head.conformal,
        logits: output(LOGITS),
        probabilities: (head.activation != HeadActivation::None).then(|| output(PROBABILITIES)),
        file_hash: head.file_hash.clone(),
        trained_with: Some(head.trained_with.clone()),
        encoder_changed: head.encoder_changed,
        adapter: head.adapter.clone(),
        license: head.license.clone(),
    }
}

/// Adds a head's nodes, constants and outputs to the graph.
fn append(graph: &mut GraphProto, head: &LinearHead, described: &GraphHead) -> Result<(), Error> {
    for output in described.outputs() {
        if has_value(graph, output) {
            return Err(Error::ValueNameTaken { head: head.name.clone(), value: output.to_owned() });
        }
        let row = vec![Dimension::Named("batch".to_owned()), Dimension::Fixed(head.labels.len() as i64)];
        graph.output.push(ValueInfoProto::tensor(output, ElementType::Float, row));
    }
    let mut builder = GraphBuilder::adding_to(graph);
    fused_head::add(&mut builder, head, described);
    builder.finish_into(graph);
    Ok(())
}

/// Whether the bundle's graph has f64 in it, which not every execution provider takes: in a constant, or as what a node
/// casts to.
///
/// # Errors
/// A graph that cannot be read.
pub fn holds_f64(bundle: &Bundle) -> Result<bool, Error> {
    let file = OnnxFile::open(&bundle.graph_path())?;
    Ok(has_f64(file.graph()))
}

fn has_f64(graph: &GraphProto) -> bool {
    let double = ElementType::Double as i32;
    let is_cast =
        |attribute: &AttributeProto| attribute.name.as_deref() == Some("to") && attribute.i == Some(i64::from(double));
    let casts = |node: &NodeProto| node.attribute.iter().any(is_cast);
    graph.initializer.iter().any(|tensor| tensor.data_type == Some(double)) || graph.node.iter().any(casts)
}

fn has_value(graph: &GraphProto, name: &str) -> bool {
    let is = |value: &Option<String>| value.as_deref() == Some(name);
    graph.node.iter().any(|node| node.output.iter().any(|output| output == name))
        || graph.initializer.iter().any(|tensor| is(&tensor.name))
        || graph.input.iter().chain(&graph.output).any(|value| is(&value.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::shape_free::assert_shape_free;
    use crate::graph::{ExportOptions, write_bundle};
    use crate::model::Pooling;

    fn head(name: &str, dim: usize) -> LinearHead {
        LinearHead {
            name: name.to_owned(),
            task: Task::Regression,
            activation: HeadActivation::None,
            labels: vec!["a".to_owned()],
            thresholds: None,
            abstain: None,
            conformal: None,
            weights: vec![0.5; dim],
            bias: vec![1.0],
            file_hash: None,
            trained_with: "text".to_owned(),
            license: None,
            wide: false,
            encoder_changed: false,
            adapter: None,
        }
    }

    #[test]
    fn a_head_computes_with_no_shapes_and_in_f64_only_where_it_is_wide() {
        let (numbers, topic, tags) = (Task::Regression, Task::Classification, Task::Multilabel);
        for (dim, wide, task, activation) in [
            (24, false, numbers, HeadActivation::None),
            (300, false, topic, HeadActivation::Softmax),
            (300, true, topic, HeadActivation::Softmax),
            (300, true, topic, HeadActivation::NormalizedSigmoid),
            (24, false, topic, HeadActivation::NormalizedSigmoid),
            (24, false, topic, HeadActivation::None),
            (768, false, tags, HeadActivation::Sigmoid),
        ] {
            let head = LinearHead { wide, task, activation, ..head("one", dim) };
            let mut graph = GraphProto::default();
            append(&mut graph, &head, &described(&head, true)).unwrap();
            let constants: Vec<&str> = graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
            assert_shape_free(&graph.node, &constants, &format!("a head of {dim} columns"));
            let slices = graph.node.iter().filter(|node| node.op_type.as_deref() == Some("Slice")).count();
            assert_eq!(slices, if wide || dim < 100 { 0 } else { dim.div_ceil(96) });
            assert_eq!(has_f64(&graph), wide);
        }
    }

    #[test]
    fn a_graph_that_one_file_cannot_hold_gets_a_data_file_and_keeps_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = place.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-bert/cls");
        let options = ExportOptions { pooling: Some(Pooling::Mean), ..ExportOptions::new(checkpoint) };
        let [old, apart, again] = ["old", "apart", "again"].map(folder);
        write_bundle(&options, &old).unwrap();
        let old = Bundle::open(&old).unwrap();
        let dim = old.manifest.dim;
        let manifest = fuse_within(20_000, &old, &[head("one", dim)], &apart).unwrap();
        assert!(manifest.data.is_some());
        let apart = Bundle::open(&apart).unwrap();
        apart.verify_graph().unwrap();
        let again_manifest = fuse_within(20_000, &apart, &[head("two", dim)], &again).unwrap();
        assert_eq!(again_manifest.data, manifest.data);
        let again = Bundle::open(&again).unwrap();
        again.verify_graph().unwrap();
        assert_eq!(again.fingerprint(), apart.fingerprint());

        let constants = |bundle: &Bundle| {
            let graph = OnnxFile::open(&bundle.graph_path()).unwrap().with_weights().unwrap();
            graph.initializer.into_iter().map(|tensor| (tensor.name, tensor.raw_data)).collect::<Vec<_>>()
        };
        let before = constants(&old);
        for bundle in [apart, again] {
            assert_eq!(constants(&bundle)[..before.len()], before);
        }
    }
}
