//! The encoders that graphs can be built for, one file each: a table of what the fields of config.json and the tensors
//! are called, and of the options in which its layers differ. The builders in `graph` read nothing else about it.
//! To add one: write its table, list it in [`ALL`], and give it a row in `export/oracle/make_tiny_architectures.py`.

mod albert;
mod bert;
mod distilbert;
mod electra;
mod modernbert;
mod mpnet;
mod roberta;

use super::Activation;

/// Every architecture, in the order in which messages list them.
pub static ALL: [&Architecture; 8] = [
    &bert::BERT,
    &roberta::ROBERTA,
    &roberta::XLM_ROBERTA,
    &distilbert::DISTILBERT,
    &electra::ELECTRA,
    &mpnet::MPNET,
    &albert::ALBERT,
    &modernbert::MODERNBERT,
];

/// A family of encoders whose layers are self-attention and a feed-forward block (Vaswani et al. 2017).
#[derive(Debug, PartialEq)]
pub struct Architecture {
    /// `model_type` of config.json.
    pub name: &'static str,
    /// The classifier among `architectures` of config.json.
    pub classifier: &'static str,
    /// What a checkpoint with a task head puts before the encoder's tensors.
    pub prefix: &'static str,
    /// Names in config.json.
    pub fields: FieldNames,
    /// How tokens get their positions.
    pub positions: Positions,
    /// Tensors before the first layer.
    pub embeddings: EmbeddingNames,
    /// Tensors of the layers.
    pub layers: LayerNames,
    /// Tensors of the classifier's head.
    pub head: HeadNames,
    /// Tensors of the head that guesses masked words.
    pub masked_lm: MaskedLmNames,
}

/// What the fields of config.json are called, and the values that transformers gives those that may be missing.
#[derive(Debug, PartialEq)]
pub struct FieldNames {
    /// Width of a token state.
    pub hidden_size: &'static str,
    /// Width of a row of the embedding tables, where it may differ from the states'.
    pub embedding_size: Option<&'static str>,
    /// Encoder layers.
    pub layers: &'static str,
    /// Attention heads.
    pub heads: &'static str,
    /// Width inside the feed-forward block.
    pub intermediate_size: &'static str,
    /// Function inside the feed-forward block, and its default.
    pub activation: (&'static str, &'static str),
    /// Rows of the token type table, 2 if missing; `None` where there is no such table.
    pub token_types: Option<&'static str>,
    /// Added to the variance in layer normalization, and its default; 10⁻¹² without a field.
    pub epsilon: Option<(&'static str, f64)>,
    /// Rows of the table of relative positions, 32 if missing.
    pub relative_buckets: Option<&'static str>,
    /// Groups of layers that share their weights, and layers within a group; 1 if missing.
    pub shared_layers: Option<[&'static str; 2]>,
    /// Which layers add a bias; `None` where all do.
    pub biases: Option<BiasFields>,
    /// What a classifier's head does; `None` where the family leaves no choice.
    pub classifier: Option<ClassifierFields>,
}

/// The fields that say which layers add a bias; false if missing, but for the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BiasFields {
    /// Every layer normalization.
    pub norms: &'static str,
    /// The linear layers of self-attention.
    pub attention: &'static str,
    /// Those of the feed-forward block.
    pub feed_forward: &'static str,
    /// The first of a classifier's head.
    pub classifier: &'static str,
    /// The last of a masked-LM head; true if missing.
    pub decoder: &'static str,
}

/// The fields that say what a classifier's head does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassifierFields {
    /// The function in it; that of [`HeadNames`] if missing.
    pub activation: &'static str,
    /// What it reads of a text, `cls` if missing.
    pub pooling: &'static str,
}

/// How tokens get their positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// By a table, whose rows 0, 1, 2, .. are those of the tokens.
    FromZero,
    /// By a table: tokens that are not the padding token get padding + 1, padding + 2, ..; the padding token gets its
    /// own id.
    AfterPadding(Padding),
    /// Without a table: every layer turns its queries and keys, as [`Rotary`](super::Rotary) says.
    Rotary,
}

/// Where the id of the padding token is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// In this field of config.json; 1 if it is missing.
    Field(&'static str),
    /// Nowhere: it is always this one.
    Id(usize),
}

/// Tensors before the first layer.
#[derive(Debug, PartialEq, Eq)]
pub struct EmbeddingNames {
    /// Table of word pieces.
    pub words: &'static str,
    /// Table of positions, where there is one.
    pub positions: &'static str,
    /// Table of token types, where there is one.
    pub token_types: &'static str,
    /// Layer normalization of the sum.
    pub norm: &'static str,
    /// Linear layer from the embeddings' width to the states'.
    pub projection: Projection,
    /// Table of relative positions, [buckets, heads], added to the scores of every layer.
    pub relative: Option<&'static str>,
}

/// Whether a linear layer stands between the embeddings and the first layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Never: both have the same width.
    None,
    /// Only if the widths differ.
    WhereWidthsDiffer(&'static str),
    /// Always.
    Always(&'static str),
}

/// Tensors of the layers, all but `layer` within one layer. Linear layers that are computed from the same states may have
/// the same name: then the rows of all are stored as one tensor, in the order of the fields here.
#[derive(Debug, PartialEq, Eq)]
pub struct LayerNames {
    /// A layer; `{layer}`, or `{group}` and `{inner}` where layers share weights, stand for numbers.
    pub layer: &'static str,
    /// Queries of self-attention.
    pub query: &'static str,
    /// Keys.
    pub key: &'static str,
    /// Values.
    pub value: &'static str,
    /// Linear layer behind the heads.
    pub attention_output: &'static str,
    /// Layer normalization of attention.
    pub attention_norm: &'static str,
    /// First linear layer of the feed-forward block.
    pub wide: &'static str,
    /// One of the same size, by whose result that of the activation is multiplied, where there is such a thing.
    pub gate: Option<&'static str>,
    /// Second linear layer of the feed-forward block.
    pub narrow: &'static str,
    /// Layer normalization of the feed-forward block.
    pub output_norm: &'static str,
    /// Where the two normalizations stand.
    pub norms: Norms,
}

/// Where layer normalization stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// Behind a block's sum with what it read.
    Behind,
    /// Before a block, except the first layer's attention, whose states come normalized from the embeddings; one more,
    /// of this name, stands behind the last layer.
    Before(&'static str),
}

/// The head of a sequence classifier: a text's state through a linear layer, a function, perhaps a layer normalization,
/// and a linear layer.
#[derive(Debug, PartialEq, Eq)]
pub struct HeadNames {
    /// The first linear layer, from width to width.
    pub dense: &'static str,
    /// Whether that layer belongs to the encoder and has its prefix (a pooler), or stands beside it.
    pub dense_in_encoder: bool,
    /// The function.
    pub activation: Activation,
    /// Layer normalization behind the function; it stands beside the encoder.
    pub norm: Option<&'static str>,
    /// The second linear layer, to the labels.
    pub output: &'static str,
}

/// The head that guesses masked words: a linear layer to the width of the word embeddings, a function, a layer
/// normalization, and a linear layer to the vocabulary. All of it stands beside the encoder.
#[derive(Debug, PartialEq, Eq)]
pub struct MaskedLmNames {
    /// The first linear layer.
    pub dense: &'static str,
    /// The function; if `None`, that of the classifier's head where the config names it, else of the feed-forward blocks.
    pub activation: Option<Activation>,
    /// The layer normalization.
    pub norm: &'static str,
    /// The second linear layer's weights, [vocabulary, width]; where they are not stored, the word embeddings.
    pub decoder: &'static str,
    /// Its bias, by the names under which it may be stored; the first that is there counts.
    pub bias: &'static [&'static str],
}

impl LayerNames {
    /// The part of a layer's name before its first number.
    pub fn stem(&self) -> &'static str {
        self.layer.split('{').next().unwrap_or_default()
    }

    /// The linear layers of queries, keys and values.
    pub fn attention(&self) -> [LinearName; 3] {
        shares([self.query, self.key, self.value])
    }

    /// The first linear layer of the feed-forward block, and the gate's.
    pub fn feed_forward(&self) -> (LinearName, Option<LinearName>) {
        match self.gate {
            None => (LinearName::whole(self.wide), None),
            Some(gate) => {
                let [wide, gate] = shares([self.wide, gate]);
                (wide, Some(gate))
            }
        }
    }
}

/// A linear layer's tensors, or a share of their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearName {
    /// The tensors' name without `.weight` and `.bias`.
    pub name: &'static str,
    /// Which of how many equal shares of their rows.
    pub share: (usize, usize),
}

impl LinearName {
    /// Tensors that are one linear layer's alone.
    pub fn whole(name: &'static str) -> Self {
        Self { name, share: (0, 1) }
    }
}

/// The shares of linear layers, of which some may be stored together.
fn shares<const N: usize>(names: [&'static str; N]) -> [LinearName; N] {
    let alike = |names: &[&str], name: &str| names.iter().filter(|other| **other == name).count();
    std::array::from_fn(|index| {
        let name = names[index];
        LinearName { name, share: (alike(&names[..index], name), alike(&names, name)) }
    })
}

/// The architecture of that name.
pub(super) fn find(name: &str) -> Option<&'static Architecture> {
    ALL.into_iter().find(|architecture| architecture.name == name)
}

/// The names of all architectures, as messages list them.
pub(super) fn known() -> String {
    ALL.map(|architecture| architecture.name).join(", ")
}
