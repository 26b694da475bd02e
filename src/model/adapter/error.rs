//! What can be wrong with an adapter, beside what can be wrong with any file of weights.

use std::path::PathBuf;

/// Errors of adapters; [`AdapterError::hint`] gives the way out where one is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The folder is no adapter.
    #[error("`{folder}` has no `adapter_config.json`")]
    NoConfig {
        /// The folder.
        folder: PathBuf,
    },
    /// There are no weights beside the config.
    #[error("adapter `{folder}` has no weights that could be read, expected one of: {expected}")]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// The file names that were looked for.
        expected: String,
    },
    /// The adapter was trained on another kind of model.
    #[error("`{path}` is for a model with `{field}` {got}, the checkpoint has {expected}")]
    OtherBase {
        /// The adapter's config.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What the adapter is for.
        got: String,
        /// What the checkpoint has.
        expected: String,
    },
    /// The weights lack tensors that the config asks for.
    #[error("`{path}` has no tensor `{tensor}`, which adapter_config.json asks for")]
    NoTensor {
        /// The weights.
        path: PathBuf,
        /// The first that is missing.
        tensor: String,
    },
    /// A tensor has another shape than adapter and base model ask for.
    #[error(
        "tensor `{tensor}` in `{path}` has shape {got:?}, adapter_config.json and the base model ask for {expected:?}"
    )]
    Shape {
        /// The weights.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        got: Vec<usize>,
        /// The shape that follows from the configs.
        expected: Vec<usize>,
    },
    /// Tensors that would be left out.
    #[error("`{path}` holds {count} tensors that have no place in the encoder, the first is `{first}`")]
    NoPlace {
        /// The weights.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The first by name.
        first: String,
    },
    /// More than one adapter in a file, or one of another name than the config says.
    #[error("`{path}` holds the adapter `{got}`, adapter_config.json is that of `{expected}`")]
    OtherName {
        /// The weights.
        path: PathBuf,
        /// The name in the weights.
        got: String,
        /// The name in the config, or the first in the weights.
        expected: String,
    },
    /// A linear layer that the adapter changes and the checkpoint lacks.
    #[error("`{path}` changes the linear layer `{module}`, which the checkpoint does not have")]
    NoModule {
        /// The weights.
        path: PathBuf,
        /// The layer.
        module: String,
    },
    /// Adapters to choose from that are too few or too many.
    #[error("{got} adapters to choose from, expected 2 to {most}")]
    Count {
        /// How many there are.
        got: usize,
        /// How many there may be.
        most: usize,
    },
    /// A name that no adapter may have.
    #[error("an adapter can't be called `{name}`, expected letters, digits, `-` and `_`")]
    Name {
        /// The name.
        name: String,
    },
    /// Two adapters under one name.
    #[error("two adapters are called `{name}`")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// One adapter under two names.
    #[error("`{}` and `{}` are the same adapter", names[0], names[1])]
    Same {
        /// The names.
        names: [String; 2],
    },
    /// An adapter that can only be fused alone.
    #[error("adapter `{name}` can't be chosen per paper: {reason}")]
    NotChoosable {
        /// The adapter, as it was named.
        name: String,
        /// Why.
        reason: &'static str,
    },
}

impl AdapterError {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoConfig { .. } => {
                "give a folder that the `adapters` library or peft has written (`save_adapter`, `save_pretrained`)"
            }
            Self::OtherBase { .. } | Self::Shape { .. } | Self::NoModule { .. } => {
                "export with the model that the adapter was trained on: `--model`"
            }
            Self::NoTensor { .. } | Self::OtherName { .. } => {
                "weights and adapter_config.json look like different adapters"
            }
            Self::NotChoosable { .. } => "make a bundle of it alone: `--adapter`",
            Self::Count { got: 1, .. } => "a single adapter is `--adapter`, which takes no name",
            Self::Count { .. } | Self::Name { .. } | Self::NameTaken { .. } | Self::Same { .. } => {
                "`--adapters` takes a list NAME=DIR,NAME=DIR,.."
            }
            Self::NoWeights { .. } | Self::NoPlace { .. } => return None,
        };
        Some(text.to_owned())
    }
}
