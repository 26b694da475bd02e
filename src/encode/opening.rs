//! Opens a bundle's graph: on the first provider that can run it, in as many sessions as were asked for, each with its
//! share of the threads and, on the CPU provider, of what sessions have in common; where several devices were named, on
//! each of them one at least. Runs nothing.
//! Invariant: all sessions of an encoder run the same graph on the same provider, and no device of it is left out.

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
    /// Each number of sessions that will be opened, if it is the CPU provider that runs them.
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
        let counts = [self.sessions.on(ProviderChoice::Cpu)];
        self.opening(graph, outputs, &counts)?.open(&|provider| self.sessions.on(provider))
    }

    /// Opens the bundle for its vectors, once for each of these numbers of sessions in the place of its own; all of them
    /// share their weights.
    ///
    /// # Errors
    /// As [`BundleEncoder::open_outputs`].
    pub fn open_for_each(&self, counts: &[usize]) -> Result<Vec<OpenedEncoder>, Error> {
        let (graph, outputs) = (self.bundle.graph_path(), [(SENTENCE_EMBEDDING, self.dim())]);
        let opening = self.opening(&graph, &outputs, counts)?;
        counts.iter().map(|&sessions| opening.open(&|_| sessions)).collect()
    }

    /// One session as those that it opens on `provider`, which writes its profile into a file whose name begins with `path`;
    /// for whoever ends it.
    ///
    /// # Errors
    /// As [`BundleEncoder::open_outputs`].
    pub fn open_profiled(&self, provider: &Provider, path: &Path) -> Result<EncoderSession, Error> {
        refuse_unopened(self.wanted())?;
        let runtime = OnnxRuntime::load(self.ort_lib.as_deref())?;
        let sessions = self.sessions.on(provider.choice);
        let Share { provider, threads } = shares(provider, sessions, self.threads)?.swap_remove(0);
        let options = SessionOptions { graph: self.bundle.graph_path(), provider, threads };
        let cpu = CpuSettings { memory: self.memory, profile: Some(path.to_owned()), ..CpuSettings::default() };
        Ok(self.open_session(&runtime, (&options, &cpu), &[SENTENCE_EMBEDDING])?.with_adapter(self.adapter))
    }

    /// What can be refused before a session is opened is refused here.
    fn opening<'a>(
        &'a self,
        graph: &'a Path,
        outputs: &'a [(&'a str, usize)],
        counts: &'a [usize],
    ) -> Result<Opening<'a>, Error> {
        refuse_unopened(self.wanted())?;
        for &sessions in counts {
            divide_threads(self.threads, sessions)?;
        }
        let runtime = OnnxRuntime::load(self.ort_lib.as_deref())?;
        let names = outputs.iter().map(|(name, _)| *name).collect();
        Ok(Opening { encoder: self, runtime, graph, outputs, names, counts, places: OnceCell::new() })
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
    /// Opens what runs batches, in so many sessions or in as many as there are devices.
    fn open(&self, sessions_on: &dyn Fn(ProviderChoice) -> usize) -> Result<OpenedEncoder, Error> {
        let encoder = self.encoder;
        let open = |provider: &Provider| -> Result<Vec<Runner>, runtime::Error> {
            let shares = shares(provider, sessions_on(provider.choice), encoder.threads)?;
            shares.iter().enumerate().map(|(place, share)| self.runner(share, (place, shares.len()))).collect()
        };
        let (runners, mut selection) = first_usable(encoder.wanted(), &self.runtime.providers(), open)?;
        selection.placement = runners[0].session().placement().clone();
        for runner in &runners {
            encoder.check_session(runner.session(), self.outputs)?;
        }
        let tokenizer = Tokenizer::open(&encoder.bundle.tokenizer_path(), encoder.bundle.manifest.max_length)?;
        let origin = PartOrigin {
            provider: runners[0].session().provider().to_owned(),
            runtime_version: self.runtime.version().to_owned(),
            cpu: Machine::read().cpu_summary(),
        };
        let engine_build_seconds = runners[0].engine_build_seconds();
        let sessions = runners.into_iter().map(|runner| runner.boxed(encoder.adapter)).collect::<Result<_, _>>()?;
        Ok(OpenedEncoder { tokenizer: Box::new(tokenizer), sessions, origin, selection, engine_build_seconds })
    }

    /// What runs batches at a place among so many.
    fn runner(&self, share: &Share, (place, of): (usize, usize)) -> Result<Runner, runtime::Error> {
        let Share { provider, threads } = share;
        let options = SessionOptions { graph: self.graph.to_owned(), provider: provider.clone(), threads: *threads };
        let elsewhere = CpuSettings::default();
        let cpu = match provider.choice {
            ProviderChoice::Cpu => self.places()?.of(of, place),
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

/// What one session gets of a provider and of the threads.
#[derive(Debug, PartialEq, Eq)]
struct Share {
    provider: Provider,
    threads: usize,
}

/// The shares of sessions on a provider: of so many as were asked for, and of no fewer than it has devices. There each has a
/// thread, even if fewer were given: it waits while its device computes.
fn shares(provider: &Provider, sessions: usize, threads: usize) -> Result<Vec<Share>, runtime::Error> {
    let sessions = sessions.max(provider.least_sessions());
    let threads = divide_threads(threads.max(provider.least_sessions()), sessions)?;
    let share = |(place, threads)| Share { provider: provider.of_session(place), threads };
    Ok(threads.into_iter().enumerate().map(share).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_a_session_and_every_session_a_device_and_a_thread() {
        let of = |provider: &str, sessions, threads| -> Vec<(String, usize)> {
            let shares = shares(&provider.parse().unwrap(), sessions, threads).unwrap();
            shares.into_iter().map(|share| (share.provider.to_string(), share.threads)).collect()
        };
        let named =
            |shares: &[(&str, usize)]| shares.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(of("cuda:0,3", 1, 4), named(&[("cuda:0", 2), ("cuda:3", 2)]));
        assert_eq!(of("cuda:0,3", 3, 4), named(&[("cuda:0", 2), ("cuda:3", 1), ("cuda:0", 1)]));
        assert_eq!(of("tensorrt:1,0", 1, 1), named(&[("tensorrt:1", 1), ("tensorrt:0", 1)]), "one thread was given");
        assert_eq!(of("cpu", 2, 5), named(&[("cpu", 3), ("cpu", 2)]));
        assert_eq!(of("cuda", 1, 2), named(&[("cuda", 2)]));
        assert!(shares(&ProviderChoice::Cpu.into(), 3, 2).is_err());
    }
}
