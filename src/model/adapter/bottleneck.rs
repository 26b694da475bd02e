//! Bottleneck adapters of the `adapters` library: what the fields of their config mean, as its version 1.3.0 computes it
//! (`methods/modeling.py`, `Adapter` and `ParallelAdapter`). Owns the form of the blocks and where their tensors lie.
//! What only matters in training (dropout, initialization) is passed over; what is not supported is refused by name.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::{Activation, EncoderConfig, Error, Tensor, Weights};
use super::fields::Fields;
use super::opened;
use super::places::Places;
use super::settings::{Scaling, bottleneck_size, check_base, form, left_out, refuse_unsupported, scaling};

/// Where a layer may have a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// Behind self-attention.
    Attention,
    /// Behind the feed-forward block.
    Output,
}

impl Site {
    /// Both, in the order of a layer.
    pub const ALL: [Self; 2] = [Self::Attention, Self::Output];

    /// Its flag in the config.
    fn flag(self) -> &'static str {
        match self {
            Self::Attention => "mh_adapter",
            Self::Output => "output_adapter",
        }
    }

    /// Where its tensors stand within a layer.
    fn place(self, family: &str) -> &'static str {
        match (self, family) {
            (Self::Attention, "distilbert") => "attention_adapters",
            (Self::Output, "distilbert") => "output_adapters",
            (Self::Attention, _) => "attention.output",
            (Self::Output, _) => "output",
        }
    }
}

/// How a block computes. The layer has `dense`, the result of its attention or feed-forward block, and `states`, what
/// that block read; without an adapter its own normalization of their sum follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The function in the bottleneck.
    pub activation: Activation,
    /// What the bottleneck reads.
    pub reads: Reads,
    /// What is added to its result.
    pub residual: Residual,
    /// Whether that is added before the block's own last normalization, or after it.
    pub residual_before_norm: bool,
    /// Whether a normalization of its own stands before the first linear layer.
    pub norm_before: bool,
    /// Whether one stands behind the second.
    pub norm_after: bool,
    /// Whether `states` are added to the block's result and the layer's normalization follows.
    pub layer_norm_after: bool,
}

/// What a bottleneck reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reads {
    /// The layer's normalized sum of `dense` and `states`.
    Normalized,
    /// `dense`.
    Dense,
    /// `states`.
    States,
}

/// What is added to a bottleneck's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// `dense`.
    Dense,
    /// `dense` and `states`.
    Sum,
    /// What the bottleneck read.
    Read,
}

impl Form {
    /// Whether the layer's result is its normalization of `dense` + `states` + the bottleneck's result. A block that gives
    /// 0 then changes nothing.
    pub fn is_additive(&self) -> bool {
        let adds_dense = match self.residual {
            Residual::Dense => true,
            Residual::Sum => false,
            Residual::Read => self.reads == Reads::Dense,
        };
        adds_dense && self.layer_norm_after && !self.norm_after
    }
}

/// A bottleneck adapter that fits its base model.
#[derive(Debug)]
pub struct Bottleneck {
    /// How its blocks compute.
    pub form: Form,
    /// A constant that the bottlenecks' results are multiplied with.
    factor: f32,
    /// Blocks by layer, behind attention and behind the feed-forward block.
    blocks: Vec<[Option<Names>; 2]>,
}

/// A block's tensors by their names, and its width.
#[derive(Debug)]
struct Names {
    size: usize,
    down: [String; 2],
    up: [String; 2],
    norm_before: Option<[String; 2]>,
    norm_after: Option<[String; 2]>,
    /// Learnt factor of the whole result.
    factor: f32,
    /// Learnt factors of each number of the result.
    factors: Option<String>,
}

/// A block: the bottleneck between two linear layers.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Width of the bottleneck.
    pub size: usize,
    /// Weight `[size, hidden]` and bias `[size]` of the first linear layer.
    pub down: [Tensor<'a>; 2],
    /// Weight `[hidden, size]` and bias `[hidden]` of the second.
    pub up: [Tensor<'a>; 2],
    /// Weight and bias of the normalization before the first.
    pub norm_before: Option<[Tensor<'a>; 2]>,
    /// Weight and bias of the normalization behind the second.
    pub norm_after: Option<[Tensor<'a>; 2]>,
    /// What the second layer's result is multiplied with.
    pub factor: f32,
    /// What each number of it is multiplied with: `[hidden]`.
    pub factors: Option<Tensor<'a>>,
}

impl Bottleneck {
    /// Reads the config and looks every tensor up.
    pub(super) fn read(
        path: &Path,
        file: &Map<String, Value>,
        (weights, base): (&Weights, &EncoderConfig),
    ) -> Result<Self, Error> {
        let outer = Fields { path, fields: file };
        check_base(outer, base)?;
        let Some(config) = outer.get("config").and_then(Value::as_object) else {
            return Err(outer.wrong("config", "an object with the adapter's settings"));
        };
        let fields = Fields { path, fields: config };
        refuse_unsupported(fields)?;
        let form = form(fields, outer.get("version").is_none())?;
        let scaling = scaling(fields)?;
        let skipped = left_out(fields)?;
        let sites = Site::ALL.map(|site| fields.flag(site.flag(), site == Site::Output));
        let [attention, output] = sites;
        let sites = [attention?, output?];

        let mut places = Places::new(weights, base, outer.text("name")?)?;
        let mut blocks = Vec::with_capacity(base.layers);
        for layer in 0..base.layers {
            let size = bottleneck_size(fields, layer, base.hidden_size)?;
            let mut found = [None, None];
            for (site, block) in Site::ALL.into_iter().zip(&mut found) {
                if sites[site as usize] && !skipped.contains(&(layer as u64)) {
                    let family = base.architecture.name;
                    let place = format!("{}.{}", base.layer_name(layer), site.place(family));
                    let shapes = Shapes { hidden: base.hidden_size, size, form: &form, scaling: &scaling };
                    *block = Some(names(&mut places, &place, &shapes, weights)?);
                }
            }
            blocks.push(found);
        }
        places.finish()?;
        if blocks.iter().flatten().all(Option::is_none) {
            return Err(fields.wrong("output_adapter", "true, or `mh_adapter`: the adapter changes no layer"));
        }
        let factor = if let Scaling::Constant(factor) = scaling { factor } else { 1.0 };
        Ok(Self { form, factor, blocks })
    }

    /// The block at a site.
    pub(super) fn block<'a>(&self, layer: usize, site: Site, weights: &'a Weights) -> Option<Block<'a>> {
        let names = self.blocks.get(layer)?[site as usize].as_ref()?;
        let pair = |names: &[String; 2]| names.each_ref().map(|name| opened(weights, name));
        Some(Block {
            size: names.size,
            down: pair(&names.down),
            up: pair(&names.up),
            norm_before: names.norm_before.as_ref().map(pair),
            norm_after: names.norm_after.as_ref().map(pair),
            factor: self.factor * names.factor,
            factors: names.factors.as_deref().map(|name| opened(weights, name)),
        })
    }

    /// Whether a learnt factor stands at each number of its results.
    pub fn scales_channels(&self) -> bool {
        self.blocks.iter().flatten().flatten().any(|names| names.factors.is_some())
    }

    /// What the config adds to the weights, as text.
    pub(super) fn describe(&self) -> String {
        let sites: Vec<String> = self
            .blocks
            .iter()
            .map(|sites| {
                let size = |names: &Option<Names>| names.as_ref().map_or(0, |names| names.size);
                format!("{}/{}", size(&sites[0]), size(&sites[1]))
            })
            .collect();
        format!("{:?} factor={:e} sizes={}", self.form, self.factor, sites.join(","))
    }
}

/// What decides the shapes of a block's tensors.
struct Shapes<'s> {
    hidden: usize,
    size: usize,
    form: &'s Form,
    scaling: &'s Scaling,
}

/// Takes a block's tensors.
fn names(places: &mut Places<'_>, place: &str, shapes: &Shapes<'_>, weights: &Weights) -> Result<Names, Error> {
    let Shapes { hidden, size, form, scaling } = *shapes;
    let mut pair = |name: &str, weight: &[usize], bias: usize| -> Result<[String; 2], Error> {
        Ok([
            places.take(&format!("{place}.{name}.weight"), weight)?,
            places.take(&format!("{place}.{name}.bias"), &[bias])?,
        ])
    };
    // The first linear layer stands behind the normalization in a list of modules.
    let down = pair(&format!("adapter_down.{}", usize::from(form.norm_before)), &[size, hidden], size)?;
    let up = pair("adapter_up", &[hidden, size], hidden)?;
    let norm_after = if form.norm_after { Some(pair("adapter_norm_after", &[hidden], hidden)?) } else { None };
    let norm_before = if form.norm_before { Some(pair("adapter_norm_before", &[hidden], hidden)?) } else { None };
    for kind in ["weight", "bias"].into_iter().filter(|_| form.norm_before) {
        // The same normalization once more, as a member of that list.
        places.leave_out(&format!("{place}.adapter_down.0.{kind}"));
    }
    let mut learnt = |size: usize| places.take(&format!("{place}.scaling"), &[size]);
    let (mut factor, mut factors) = (1.0, None);
    match scaling {
        Scaling::Constant(_) => {}
        Scaling::Learned => {
            let mut values = Vec::new();
            opened(weights, &learnt(1)?).read(0..1, &mut values)?;
            factor = values[0];
        }
        Scaling::Channel => factors = Some(learnt(hidden)?),
    }
    Ok(Names { size, down, up, norm_before, norm_after, factor, factors })
}
