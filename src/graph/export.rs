//! From a checkpoint to a bundle's files. Owns the order of the steps: everything that can be refused without
//! reading weights is refused first; `bundle.toml` is written last. The caller checks the bundle and publishes it.

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};

use crate::durable::{PendingFile, replace_file};
use crate::model::{
    Checkpoint, DATA_FILE, DataFile, GRAPH_FILE, GraphHead, GraphMetadata, MANIFEST_FILE, Manifest, Pooling, Precision,
    Recipe, SENTENCE_EMBEDDING, Source, TOKENIZER_FILE, bundle_format,
};

use super::Error;
use super::adapter_source::{AdapterSource, Opened};
use super::builder::Graph;
use super::constants::Problem;
use super::encoder::{self, Ending};
use super::half::half;
use super::plain::plain;
use super::quantize::{QuantizePlan, Stopped, quantize};
use super::writer::{self, GraphWriter};

/// Protobuf stops at 2 GiB; the rest is room for metadata.
pub const MAX_GRAPH_BYTES: u64 = 1_900_000_000;

/// Program and version, as bundles name who wrote them.
pub(super) const CREATED_BY: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// What shapes the vectors of a bundle, where the checkpoint does not say or is overruled.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportOptions {
    /// Folder with `config.json`, weights and `tokenizer.json`.
    pub checkpoint: PathBuf,
    /// The source's name; the folder's name if `None`.
    pub name: Option<String>,
    /// The source's revision, where one is known.
    pub revision: Option<String>,
    /// Pooling; the checkpoint's own if `None`.
    pub pooling: Option<Pooling>,
    /// Scaling to length 1; as the checkpoint's modules say if `None`.
    pub normalize: Option<bool>,
    /// Longest input in tokens; by the checkpoint's files if `None`.
    pub max_length: Option<usize>,
    /// How title and abstract become one text; recorded, not interpreted here.
    pub template: String,
    /// An adapter that becomes part of the encoder.
    pub adapter: Option<AdapterSource>,
    /// Adapters by name, of which each text gets its own; at least two, or none. Not beside `adapter`.
    pub adapters: Vec<(String, AdapterSource)>,
    /// The numbers that the graph computes in.
    pub precision: Precision,
    /// The licence of the weights; what the checkpoint's README.md says if `None`.
    pub license: Option<String>,
    /// Which matrices are multiplied in int8; none for a graph of another precision.
    pub quantize: Option<QuantizePlan>,
    /// Write a graph for other runtimes: operators of opset 17 alone, functions written out that it lacks.
    pub plain: bool,
    /// Bytes that `model.onnx` may have. The weights of a larger one lie beside it, in `model.onnx.data`.
    pub largest_graph: u64,
}

impl ExportOptions {
    /// The checkpoint's own choices and the template `model-card`.
    pub fn new(checkpoint: impl Into<PathBuf>) -> Self {
        Self {
            checkpoint: checkpoint.into(),
            name: None,
            revision: None,
            pooling: None,
            normalize: None,
            max_length: None,
            template: "model-card".to_owned(),
            adapter: None,
            adapters: Vec::new(),
            precision: Precision::default(),
            license: None,
            quantize: None,
            plain: false,
            largest_graph: MAX_GRAPH_BYTES,
        }
    }

    /// The choices of a recipe; its hashes are compared by [`Recipe::verify`]. A recipe without hashes can't tell
    /// whether the folder holds its source, so the folder keeps its own name and licence.
    pub fn from_recipe(checkpoint: impl Into<PathBuf>, recipe: &Recipe) -> Self {
        let is_source = !recipe.files.is_empty();
        Self {
            name: is_source.then(|| recipe.source.clone()),
            revision: recipe.revision.clone().filter(|_| is_source),
            pooling: recipe.pooling,
            normalize: recipe.normalize,
            max_length: recipe.max_length,
            template: recipe.template.clone(),
            license: recipe.license.clone().filter(|_| is_source),
            ..Self::new(checkpoint)
        }
    }

    /// What a bundle says of its source, whose numbers have these hashes.
    pub(super) fn source(&self, weights_hash: String, config_hash: String) -> Source {
        let folder = self.checkpoint.canonicalize().unwrap_or_else(|_| self.checkpoint.clone());
        let folder_name = || folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Source {
            name: self.name.clone().unwrap_or_else(folder_name),
            revision: self.revision.clone(),
            weights_hash,
            config_hash,
        }
    }
}

/// Writes what a manifest says anew, into `bundle.toml` and into the graph's metadata, once something became known that
/// could not be known before the graph was there. The graph itself stays as it is: `manifest.graph_hash` still holds.
///
/// Each of the two files is the old or the new one at any moment, never half of one; a crash between them leaves a
/// folder whose files contradict each other, which [`Bundle::open`](crate::model::Bundle::open) refuses. So call it
/// before the bundle is put in its place. Takes the size of `model.onnx` on the disk while it runs.
pub fn rewrite_manifest(manifest: &Manifest, bundle: &Path) -> Result<(), Error> {
    let graph_path = bundle.join(GRAPH_FILE);
    let graph_end = GraphMetadata::read(&graph_path)?.graph_end;
    let copy = || {
        let mut file = PendingFile::create(&graph_path)?;
        let copied = io::copy(&mut File::open(&graph_path)?.take(graph_end), &mut file)?;
        if copied != graph_end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        writer::write_metadata(manifest.metadata(), &mut file)?;
        file.publish()
    };
    copy().map_err(|source| Error::Write { path: graph_path.clone(), source })?;
    write_manifest(manifest, bundle)
}

fn write_manifest(manifest: &Manifest, bundle: &Path) -> Result<(), Error> {
    let path = bundle.join(MANIFEST_FILE);
    replace_file(&path, manifest.to_toml().as_bytes()).map_err(|source| Error::Write { path, source })
}

/// Writes `model.onnx`, `tokenizer.json` and `bundle.toml` into the existing folder `into`, and before them
/// `model.onnx.data` where one file can't hold the weights.
/// Each file is whole or absent; after an error there may be some of them.
pub fn write_bundle(options: &ExportOptions, into: &Path) -> Result<Manifest, Error> {
    let checkpoint = Checkpoint::open(&options.checkpoint)?;
    let ending = ending(&checkpoint, options)?;
    let max_length = checkpoint.max_length(options.max_length)?;
    checkpoint.check_template(&options.template)?;
    let license = checkpoint.license(options.license.as_deref())?;
    let opened = adapters(&checkpoint, options)?;
    let graph = build((&checkpoint, &opened), options, ending)?;
    let writer = writer(&graph, DATA_FILE, (options.largest_graph, &options.checkpoint))?;
    let data = write_data(&writer, &into.join(DATA_FILE))?;
    let manifest = |graph_hash| Manifest {
        format: bundle_format(opened.fused.is_some() || !opened.several.is_empty()),
        created_by: CREATED_BY.to_owned(),
        architecture: checkpoint.config().architecture.name.to_owned(),
        dim: checkpoint.config().hidden_size,
        max_length,
        truncation_side: "right".to_owned(),
        pooling: ending.pooling,
        pooling_stated: false,
        normalize: ending.normalize,
        output: SENTENCE_EMBEDDING.to_owned(),
        template: options.template.clone(),
        sep_token: checkpoint.sep_token().to_owned(),
        precision: options.precision,
        batch_invariant: true,
        parameters: graph.parameters,
        tokenizer_hash: blake3::hash(checkpoint.tokenizer()).to_hex().to_string(),
        graph_hash,
        encoder_graph_hash: None,
        license,
        plain: options.plain,
        data,
        source: options.source(checkpoint.weights().hash(), checkpoint.config().hash()),
        fused_adapter: opened.fused.clone(),
        quality: None,
        int8: None,
        heads: checkpoint.config().classification.iter().map(GraphHead::of_checkpoint).collect(),
        adapters: opened.several.clone(),
    };
    write_files(into, checkpoint.tokenizer(), |file| writer.write_graph(file), manifest)
}

/// Writes the graph alone, without metadata and without waiting for the disk: to be run and thrown away. Weights that would
/// make it larger than `options.largest_graph` bytes lie beside it, in a file with `.data` behind its name.
///
/// # Errors
/// As [`write_bundle`].
pub fn write_graph(options: &ExportOptions, path: &Path) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(&options.checkpoint)?;
    let opened = adapters(&checkpoint, options)?;
    let graph = build((&checkpoint, &opened), options, ending(&checkpoint, options)?)?;
    write_alone(&graph, path, (options.largest_graph, &options.checkpoint))
}

/// Where [`write_graph`] puts the weights of a graph that is too large for one file.
pub fn data_of(graph: &Path) -> PathBuf {
    let mut name = graph.as_os_str().to_owned();
    name.push(".data");
    PathBuf::from(name)
}

/// A graph by itself; `largest` and the checkpoint's folder are those of [`writer`].
pub(super) fn write_alone(graph: &Graph<'_>, path: &Path, largest: (u64, &Path)) -> Result<(), Error> {
    let data = data_of(path);
    let data_file = data.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let writer = writer(graph, &data_file, largest)?;
    write_data(&writer, &data)?;
    let mut file = BufWriter::new(File::create(path).map_err(failed(path))?);
    writer.write_graph(&mut file).map_err(|problem| stopped(problem, path))?;
    file.into_inner().map_err(|error| failed(path)(error.into_error()))?;
    Ok(())
}

pub(super) fn ending(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Ending, Error> {
    Ok(Ending { pooling: checkpoint.pooling(options.pooling)?, normalize: checkpoint.normalize(options.normalize) })
}

/// The adapters that are asked for, opened for the encoder of the checkpoint.
pub(super) fn adapters(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Opened, Error> {
    Ok(Opened::new(options.adapter.as_ref(), &options.adapters, checkpoint.config())?)
}

/// The graph with all that was asked of its numbers.
fn build<'c>(
    (checkpoint, opened): (&'c Checkpoint, &'c Opened),
    options: &ExportOptions,
    ending: Ending,
) -> Result<Graph<'c>, Error> {
    let graph = original((checkpoint, opened), ending)?;
    let graph = if options.plain { plain(graph) } else { graph };
    let graph = if options.precision == Precision::Fp16 { half(graph) } else { graph };
    match &options.quantize {
        Some(plan) => quantize(graph, plan).map_err(|stopped| unplanned(stopped, &options.checkpoint)),
        None => Ok(graph),
    }
}

/// The graph in fp32, before anything was asked of its numbers.
pub(super) fn original<'c>(
    (checkpoint, opened): (&'c Checkpoint, &'c Opened),
    ending: Ending,
) -> Result<Graph<'c>, Error> {
    Ok(encoder::build_adapted(checkpoint.config(), (checkpoint.weights(), &opened.adaptation), ending)?)
}

fn unplanned(stopped: Stopped, checkpoint: &Path) -> Error {
    let folder = checkpoint.to_owned();
    match stopped {
        Stopped::UnknownMatrix(matrix) => Error::UnknownMatrix { folder, matrix },
        Stopped::Length { matrix, list, got, expected } => Error::PlanLength { matrix, list, got, expected },
        Stopped::Number { matrix, list, value } => Error::PlanNumber { matrix, list, value },
        Stopped::Read(problem) => self::stopped(problem, checkpoint),
    }
}

/// Writes `model.onnx`, `tokenizer.json` and, last, `bundle.toml`: the graph by `write_graph`, which gives its hash, and
/// what `describe` makes of that hash.
pub(super) fn write_files<P: Into<Problem>>(
    into: &Path,
    tokenizer: &[u8],
    write_graph: impl FnOnce(&mut PendingFile) -> Result<String, P>,
    describe: impl FnOnce(String) -> Manifest,
) -> Result<Manifest, Error> {
    let graph_path = into.join(GRAPH_FILE);
    let mut file = PendingFile::create(&graph_path).map_err(failed(&graph_path))?;
    let manifest = describe(write_graph(&mut file).map_err(|problem| stopped(problem.into(), &graph_path))?);
    let metadata = writer::write_metadata(manifest.metadata(), &mut file);
    metadata.and_then(|()| file.publish()).map_err(failed(&graph_path))?;
    let tokenizer_path = into.join(TOKENIZER_FILE);
    replace_file(&tokenizer_path, tokenizer).map_err(failed(&tokenizer_path))?;
    write_manifest(&manifest, into)?;
    Ok(manifest)
}

/// The graph in one file, or its weights in `data_file` beside it where more than `largest` bytes would lie in one. The
/// checkpoint's folder is named in the error.
pub(super) fn writer<'g, 'a>(
    graph: &'g Graph<'a>,
    data_file: &str,
    (largest, checkpoint): (u64, &Path),
) -> Result<GraphWriter<'g, 'a>, Error> {
    let whole = GraphWriter::new(graph);
    if whole.len() <= largest {
        return Ok(whole);
    }
    let apart = GraphWriter::with_data_file(graph, data_file);
    // What stays with the nodes is small: no encoder comes near this.
    if apart.len() > MAX_GRAPH_BYTES {
        let folder = checkpoint.to_owned();
        return Err(Error::TooLarge { folder, bytes: apart.len(), limit: MAX_GRAPH_BYTES });
    }
    Ok(apart)
}

/// The data file, where the graph has one.
pub(super) fn write_data(writer: &GraphWriter<'_, '_>, path: &Path) -> Result<Option<DataFile>, Error> {
    if writer.data_len() == 0 {
        return Ok(None);
    }
    let mut file = PendingFile::create(path).map_err(failed(path))?;
    let hash = writer.write_data(&mut file).map_err(|problem| stopped(problem, path))?;
    file.publish().map_err(failed(path))?;
    Ok(Some(DataFile { bytes: writer.data_len(), hash }))
}

pub(super) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

pub(super) fn stopped(problem: Problem, path: &Path) -> Error {
    match problem {
        Problem::Weights(error) => Error::Model(error),
        Problem::Io(source) => failed(path)(source),
        Problem::BeyondHalf { tensor, value } => Error::BeyondHalf { tensor, value },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_beside_a_graph_have_its_name() {
        assert_eq!(data_of(Path::new("a/candidate.onnx")), Path::new("a/candidate.onnx.data"));
    }

    /// Writes the bundle of the checkpoint `OFFPRINT_EXPORT_FROM` into `OFFPRINT_EXPORT_INTO`; the scripts in
    /// `export/oracle/` use it to compare any checkpoint with the reference.
    #[test]
    #[ignore = "a tool for export/oracle: needs OFFPRINT_EXPORT_FROM and OFFPRINT_EXPORT_INTO"]
    fn export_a_folder() {
        let variable = |name: &str| std::env::var(format!("OFFPRINT_EXPORT_{name}"));
        let into = PathBuf::from(variable("INTO").unwrap());
        std::fs::create_dir_all(&into).unwrap();
        let mut options = ExportOptions::new(variable("FROM").unwrap());
        options.pooling = variable("POOLING").ok().map(|word| word.parse().unwrap());
        options.normalize = variable("NORMALIZE").ok().map(|word| word.parse().unwrap());
        println!("{:#?}", write_bundle(&options, &into).unwrap());
        crate::model::Bundle::open(&into).unwrap().verify_graph().unwrap();
    }
}
