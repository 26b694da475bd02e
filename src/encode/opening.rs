//! Opens a bundle's graph: on the first provider that can run it, in as many sessions as were asked for, each with its
//! share of the threads and, on the CPU provider, of what sessions have in common. Runs nothing.
//! Invariant: all sessions of an encoder run the same graph on the same provider.

use std::cell::OnceCell;
use std::path::Path;

use super::encoder::{BundleEncoder, OpenEncoder, OpenedEncoder};
use super::engines::Runner;
use super::{Error, Tokenizer};
use crate::cache::PartOrigin;
use crate::graph::foreign::OnnxFile;
use crate::model::SENTENCE_EMBEDDING;
use crate::runtime::{
    self, CpuSettings, EncoderSession, Machine, OnnxRuntime, Provider, ProviderChoice, SessionOptions, Wanted,
    divide_threads, first_usable, refuse_unopened,
};

/// A graph to be opened, and for which outputs.
struct Opening<'a> {
    encoder: &'a BundleEncoder,
    runtime: OnnxRuntime,
    graph: &'a Path,
    outputs: &'a [(&'a str, usize)],
    names: Vec<&'a str>,
    /// Each number of sessions that will be opened.
    counts: &'a [usize],
    /// Made when the CPU provider is tried first.
    places: OnceCell<Places>,
}

impl BundleEncoder {
    /// Opens another graph in the place of the bundle's, likewise.
    ///
    /// # Errors
    /// As [`BundleEncoder::open_outputs`].
    pub fn open_graph(&self, graph: &Path, outputs: &[(&str, usize)]) -> Result<OpenedEncoder, Error> {
        let mut opened = self.open_each(graph, outputs, &[self.sessions])?;
        Ok(opened.pop().expect("there is one for each number of sessions, of which there is one"))
    }

    /// Opens the bundle for its vectors, once for each of these numbers of sessions in the place of its own; all of them
    /// share their weights.
    ///
    /// # Errors
    /// As [`BundleEncoder::open_outputs`].
    pub fn open_for_each(&self, counts: &[usize]) -> Result<Vec<OpenedEncoder>, Error> {
        self.open_each(&self.bundle.graph_path(), &[(SENTENCE_EMBEDDING, self.dim())], counts)
    }

    fn open_each(
        &self,
        graph: &Path,
        outputs: &[(&str, usize)],
        counts: &[usize],
    ) -> Result<Vec<OpenedEncoder>, Error> {
        refuse_unopened(self.wanted())?;
        let divided = counts.iter().map(|&sessions| divide_threads(self.threads, sessions));
        let divided = divided.collect::<Result<Vec<_>, _>>()?;
        let runtime = OnnxRuntime::load(self.ort_lib.as_deref())?;
        let names = outputs.iter().map(|(name, _)| *name).collect();
        let opening = Opening { encoder: self, runtime, graph, outputs, names, counts, places: OnceCell::new() };
        divided.iter().map(|shares| opening.open(shares)).collect()
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { providers: &self.provider, precision: self.bundle.manifest.precision, fallback: self.fallback }
    }

    /// A session on one provider. The graph of another program may compute shapes, which providers leave to the processor;
    /// our own graphs do not.
    pub(super) fn open_session(
        &self,
        runtime: &OnnxRuntime,
        (options, cpu): (&SessionOptions, &CpuSettings),
        names: &[&str],
    ) -> Result<EncoderSession, runtime::Error> {
        let open = |may_stay: &dyn Fn(&runtime::PlacedNode) -> bool| {
            EncoderSession::open_with(runtime, options, names, (cpu, may_stay))
        };
        match open(&|_| false) {
            Err(error) if !self.bundle.manifest.batch_invariant && error.is_placement() => {
                // A graph that can't be read again is refused for what was found first.
                let Ok(file) = OnnxFile::open(&options.graph) else { return Err(error) };
                let shapes = file.nodes_that_feed_shapes();
                open(&|node| shapes.contains(&node.name))
            }
            opened => opened,
        }
    }

    /// An error if a session is not what the manifest says of its graph.
    pub(super) fn check_session(&self, session: &EncoderSession, outputs: &[(&str, usize)]) -> Result<(), Error> {
        let adapters = self.bundle.manifest.adapters.len();
        if session.takes_adapter() != (adapters > 0) {
            let takes = if session.takes_adapter() { "chooses among adapters" } else { "has no input `adapter`" };
            return Err(Error::unhealthy(format!("the graph {takes}, bundle.toml names {adapters}")));
        }
        for ((name, expected), got) in outputs.iter().zip(session.widths()) {
            if got != *expected {
                let what = format!("the graph gives {got} numbers a text in `{name}`, bundle.toml says {expected}");
                return Err(Error::unhealthy(what));
            }
        }
        Ok(())
    }
}

impl Opening<'_> {
    /// Opens what runs batches, once for each share of the threads.
    fn open(&self, shares: &[usize]) -> Result<OpenedEncoder, Error> {
        let encoder = self.encoder;
        let (first, mut selection) =
            first_usable(encoder.wanted(), &self.runtime.providers(), |provider| self.runner(provider, shares, 0))?;
        selection.placement = first.session().placement().clone();
        let mut runners = vec![first];
        for place in 1..shares.len() {
            let more = selection.provider.as_ref().map(|provider| self.runner(provider, shares, place));
            runners.extend(more.transpose()?);
        }
        for runner in &runners {
            encoder.check_session(runner.session(), self.outputs)?;
        }
        let tokenizer = Tokenizer::open(&encoder.bundle.tokenizer_path(), encoder.bundle.manifest.max_length)?;
        let origin = PartOrigin {
            provider: runners[0].session().provider().to_owned(),
            runtime_version: self.runtime.version().to_owned(),
            cpu: Machine::read().cpu_summary(),
        };
        let sessions = runners.into_iter().map(|runner| runner.boxed(encoder.adapter)).collect::<Result<_, _>>()?;
        Ok(OpenedEncoder { tokenizer: Box::new(tokenizer), sessions, origin, selection })
    }

    /// What runs batches with the share at a place among `shares`.
    fn runner(&self, provider: &Provider, shares: &[usize], place: usize) -> Result<Runner, runtime::Error> {
        let options =
            SessionOptions { graph: self.graph.to_owned(), provider: provider.clone(), threads: shares[place] };
        let elsewhere = CpuSettings::default();
        let cpu = match provider.choice {
            ProviderChoice::Cpu => self.places()?.of(shares.len(), place),
            _ => &elsewhere,
        };
        self.encoder.open_runner(&self.runtime, (&options, cpu), &self.names)
    }

    fn places(&self) -> Result<&Places, runtime::Error> {
        if self.places.get().is_none() {
            let made = Places::new(self.encoder, self.graph, self.counts)?;
            return Ok(self.places.get_or_init(|| made));
        }
        Ok(self.places.get().expect("it was looked at just now"))
    }
}

/// What sessions on the CPU provider have besides, by where they run. Weights are shared among those that run anywhere, and
/// among those of one NUMA node: near its cores, they are read faster than far away.
struct Places {
    anywhere: CpuSettings,
    nodes: Vec<CpuSettings>,
}

impl Places {
    /// For as many sessions together as `counts` says, each number of them opened once.
    fn new(encoder: &BundleEncoder, graph: &Path, counts: &[usize]) -> Result<Self, runtime::Error> {
        let (spread, free): (Vec<usize>, Vec<usize>) =
            counts.iter().copied().partition(|&sessions| spreads(sessions, encoder.nodes.len()));
        let anywhere = CpuSettings::side_by_side(graph, free.iter().sum(), encoder.memory)?;
        let on_node = |(node, cores): (usize, &Vec<usize>)| -> Result<CpuSettings, runtime::Error> {
            let here = spread.iter().map(|sessions| (sessions - node).div_ceil(encoder.nodes.len())).sum();
            let settings = CpuSettings::side_by_side(graph, here, encoder.memory)?;
            Ok(CpuSettings { cores: cores.clone(), ..settings })
        };
        let nodes = encoder.nodes.iter().enumerate().map(on_node).collect::<Result<_, _>>()?;
        Ok(Self { anywhere, nodes })
    }

    /// The settings of one of so many sessions.
    fn of(&self, sessions: usize, place: usize) -> &CpuSettings {
        if spreads(sessions, self.nodes.len()) { &self.nodes[place % self.nodes.len()] } else { &self.anywhere }
    }
}

/// Whether sessions are spread over NUMA nodes: not where a node would get none.
fn spreads(sessions: usize, nodes: usize) -> bool {
    nodes > 1 && sessions >= nodes
}
