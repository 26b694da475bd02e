//! Adapters: small weights, trained beside a base model, that make another encoder of it. Owns the folder formats of
//! the `adapters` library (bottlenecks: Houlsby et al. 2019, Pfeiffer et al. 2020) and of peft (LoRA: Hu et al. 2021),
//! and the checks against the base model; knows no operators. Invariant: an [`Adapter`] fits the base model that it was
//! opened for, and each tensor of its file has a place there, so that nothing of it is left out silently.

mod bottleneck;
mod error;
mod fields;
mod lora;
mod places;
mod settings;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::identity::hash_fields;
use super::{AdapterKind, EncoderConfig, Error, Tensor, Weights, files, license};

pub use bottleneck::{Block, Bottleneck, Form, Reads, Residual, Site};
pub use error::AdapterError;
pub use lora::{Lora, LowRank};

/// The file that makes a folder an adapter.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";

/// Files that an adapter's weights are looked for in, the first that is there wins.
pub const ADAPTER_WEIGHTS: [&str; 4] =
    ["adapter.safetensors", "pytorch_adapter.bin", "adapter_model.safetensors", "adapter_model.bin"];

/// A head that was trained with the adapter; it is no part of the encoder.
pub const ADAPTER_HEADS: [&str; 2] = ["model_head.safetensors", "pytorch_model_head.bin"];

/// Part of every hash: a change of its meaning changes this word.
const FORMAT: &str = "offprint adapter 1";

/// An adapter that fits a base model.
#[derive(Debug)]
pub struct Adapter {
    folder: PathBuf,
    weights: Weights,
    method: Method,
}

/// What an adapter does to the base model.
#[derive(Debug)]
pub enum Method {
    /// It adds blocks to the layers.
    Bottleneck(Bottleneck),
    /// It changes the weights of linear layers.
    Lora(Lora),
}

impl Adapter {
    /// Opens a folder for the base model whose config is `base`. Weights are mapped; of their numbers only a learnt
    /// scale is read.
    ///
    /// # Errors
    /// Files are missing or broken, the adapter is of a kind that is not supported or belongs to another base model, a
    /// tensor is missing, has another shape, or has no place in the base model.
    pub fn open(folder: &Path, base: &EncoderConfig) -> Result<Self, Error> {
        let path = folder.join(ADAPTER_CONFIG);
        let Some(config) = files::json_if_present::<Map<String, Value>>(&path)? else {
            return Err(AdapterError::NoConfig { folder: folder.to_owned() }.into());
        };
        let found = ADAPTER_WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let Some(weights_path) = found else {
            let expected = ADAPTER_WEIGHTS.join(", ");
            return Err(AdapterError::NoWeights { folder: folder.to_owned(), expected }.into());
        };
        let weights = Weights::open(&weights_path)?;
        let method = if config.contains_key("peft_type") {
            Method::Lora(Lora::read(&path, &config, &weights)?)
        } else {
            Method::Bottleneck(Bottleneck::read(&path, &config, (&weights, base))?)
        };
        Ok(Self { folder: folder.to_owned(), weights, method })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it does.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The word for what it does, as a bundle's manifest has it.
    pub fn kind(&self) -> AdapterKind {
        match self.method {
            Method::Bottleneck(_) => AdapterKind::Bottleneck,
            Method::Lora(_) => AdapterKind::Lora,
        }
    }

    /// The licence that the folder's README.md names.
    ///
    /// # Errors
    /// A README.md that cannot be read.
    pub fn license(&self) -> Result<Option<String>, Error> {
        license::license_in(&self.folder)
    }

    /// BLAKE3 of the weights' file and of what the config adds to it, in hex. The adapter's name in the config and where
    /// the folder lies are no part of it.
    pub fn hash(&self) -> String {
        let config = match &self.method {
            Method::Bottleneck(bottleneck) => bottleneck.describe(),
            Method::Lora(lora) => lora.describe(),
        };
        let fields = [("weights", self.weights.hash()), ("config", config), ("kind", self.kind().to_string())];
        hash_fields(FORMAT, &fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The file with a head that lies beside the adapter and is not used, where there is one.
    pub fn unused_head(&self) -> Option<&'static str> {
        ADAPTER_HEADS.into_iter().find(|name| self.folder.join(name).is_file())
    }

    /// The block behind a layer's attention or feed-forward block; none where the adapter leaves it as it is.
    pub fn block(&self, layer: usize, site: Site) -> Option<Block<'_>> {
        match &self.method {
            Method::Bottleneck(bottleneck) => bottleneck.block(layer, site, &self.weights),
            Method::Lora(_) => None,
        }
    }

    /// The changes of linear layers: the names under which the base model was when it was trained, and what is added.
    pub fn low_rank(&self) -> impl Iterator<Item = (&str, LowRank<'_>)> {
        let lora = match &self.method {
            Method::Lora(lora) => Some(lora),
            Method::Bottleneck(_) => None,
        };
        lora.into_iter().flat_map(|lora| lora.modules(&self.weights))
    }

    /// The weights' file, as messages name it.
    pub fn weights_path(&self) -> &Path {
        self.weights.path()
    }
}

/// The tensor of that name, which was found and measured when the adapter was opened.
fn opened<'a>(weights: &'a Weights, name: &str) -> Tensor<'a> {
    weights.get(name).expect("each tensor was looked up when the adapter was opened")
}
