//! Opens a graph as sessions side by side, on the first provider that can run it. On the CPU provider they share weights,
//! and NUMA nodes. Invariant: all sessions of one encoder run on one provider.

use std::cell::OnceCell;
use std::path::Path;

use super::encoder::{BundleEncoder, OpenedEncoder};
use super::engines::Runner;
use super::{Error, Tokenizer};
use crate::cache::PartOrigin;
use crate::runtime::{
    CpuSettings, Machine, OnnxRuntime, Provider, ProviderChoice, SessionOptions, Wanted, first_usable,
};

/// Opens sessions side by side, once for each of `counts`.
pub(super) struct Opener<'a> {
    pub encoder: &'a BundleEncoder,
    pub runtime: OnnxRuntime,
    pub graph: &'a Path,
    pub outputs: &'a [(&'a str, usize)],
    pub counts: &'a [usize],
    /// Made when the first session is opened on the CPU provider.
    pub places: OnceCell<Places>,
}

impl Opener<'_> {
    /// Sessions with these shares of the threads, on the first provider that can run them.
    pub fn open(&self, wanted: Wanted<'_>, shares: &[usize]) -> Result<OpenedEncoder, Error> {
        let Self { encoder, runtime, .. } = self;
        let open = |provider: &Provider, number| self.runner(provider, (number, shares));
        let (first, mut selection) = first_usable(wanted, &runtime.providers(), |provider| open(provider, 0))?;
        selection.placement = first.session().placement().clone();
        let mut runners = vec![first];
        for number in 1..shares.len() {
            runners.extend(selection.provider.as_ref().map(|provider| open(provider, number)).transpose()?);
        }
        for runner in &runners {
            encoder.check_session(runner.session(), self.outputs)?;
        }
        let tokenizer = Tokenizer::open(&encoder.bundle.tokenizer_path(), encoder.bundle.manifest.max_length)?;
        let origin = PartOrigin {
            provider: runners[0].session().provider().to_owned(),
            runtime_version: runtime.version().to_owned(),
            cpu: Machine::read().cpu_summary(),
        };
        let sessions = runners.into_iter().map(|runner| runner.boxed(encoder.adapter)).collect::<Result<_, _>>()?;
        Ok(OpenedEncoder { tokenizer: Box::new(tokenizer), sessions, origin, selection })
    }

    /// One of as many sessions as there are shares, by its number.
    fn runner(
        &self,
        provider: &Provider,
        (number, shares): (usize, &[usize]),
    ) -> Result<Runner, crate::runtime::Error> {
        let names: Vec<&str> = self.outputs.iter().map(|(name, _)| *name).collect();
        let options = SessionOptions { graph: self.graph.to_owned(), provider: provider.clone(), threads: shares[number] };
        if provider.choice != ProviderChoice::Cpu {
            return self.encoder.open_runner(&self.runtime, (&options, &CpuSettings::default()), &names);
        }
        let places = match self.places.get() {
            Some(places) => places,
            None => {
                let made = Places::new(self.encoder, self.graph, self.counts)?;
                self.places.get_or_init(|| made)
            }
        };
        self.encoder.open_runner(&self.runtime, (&options, places.of(number, shares.len())), &names)
    }
}

/// What sessions on the CPU provider have besides, by where they run. Weights are shared among those that run anywhere, and
/// among those of one NUMA node: near its cores, they are read faster than far away.
pub(super) struct Places {
    anywhere: CpuSettings,
    nodes: Vec<CpuSettings>,
}

impl Places {
    /// For as many sessions together as `counts` says, each number of them opened once.
    fn new(encoder: &BundleEncoder, graph: &Path, counts: &[usize]) -> Result<Self, crate::runtime::Error> {
        let (spread, free): (Vec<usize>, Vec<usize>) =
            counts.iter().copied().partition(|&sessions| spreads(sessions, encoder.nodes.len()));
        let anywhere = CpuSettings::side_by_side(graph, free.iter().sum(), encoder.memory)?;
        let on_node = |(node, cores): (usize, &Vec<usize>)| -> Result<CpuSettings, crate::runtime::Error> {
            let here = spread.iter().map(|sessions| (sessions - node).div_ceil(encoder.nodes.len())).sum();
            let settings = CpuSettings::side_by_side(graph, here, encoder.memory)?;
            Ok(CpuSettings { cores: cores.clone(), ..settings })
        };
        let nodes = encoder.nodes.iter().enumerate().map(on_node).collect::<Result<_, _>>()?;
        Ok(Self { anywhere, nodes })
    }

    /// The settings of one of so many sessions, by its number.
    fn of(&self, number: usize, sessions: usize) -> &CpuSettings {
        let spread = spreads(sessions, self.nodes.len());
        if spread { &self.nodes[number % self.nodes.len()] } else { &self.anywhere }
    }
}

/// Whether sessions are spread over NUMA nodes: not where a node would get none.
fn spreads(sessions: usize, nodes: usize) -> bool {
    nodes > 1 && sessions >= nodes
}
