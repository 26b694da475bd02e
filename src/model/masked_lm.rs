//! The head that guesses masked words, found among a checkpoint's tensors: under which names it is stored, and whether
//! its last layer is the word embeddings. Knows no operators; shapes are checked where the tensors are used.

use super::{Activation, EncoderConfig, Error, Weights};

/// Names of the tensors of a masked-LM head, all of them with their prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedLmHead {
    /// Linear layer from the states' width to that of the word embeddings.
    pub dense: String,
    /// The function behind it.
    pub activation: Activation,
    /// Layer normalization behind that.
    pub norm: String,
    /// Weights of the linear layer to the vocabulary, [vocabulary, width]: its own tensor, or the word embeddings.
    pub decoder: String,
    /// Its bias, `[vocabulary]`, where the config leaves it one.
    pub bias: Option<String>,
}

impl MaskedLmHead {
    /// Finds the head. `encoder` stands before the encoder's tensors, `beside` before those beside it. A stored last
    /// layer goes before the word embeddings, as in transformers.
    ///
    /// # Errors
    /// There is no such head, as in most checkpoints that were fine-tuned.
    pub fn find(config: &EncoderConfig, weights: &Weights, (encoder, beside): (&str, &str)) -> Result<Self, Error> {
        let names = &config.architecture.masked_lm;
        let dense = format!("{beside}{}", names.dense);
        let expected = format!("{dense}.weight");
        if weights.get(&expected).is_none() {
            return Err(Error::NoMaskedLm { path: weights.path().to_owned(), expected });
        }
        let stored = |name: &&str| weights.get(&format!("{beside}{name}")).is_some();
        let decoder = match config.ties_words && !stored(&names.decoder) {
            true => format!("{encoder}{}.weight", config.architecture.embeddings.words),
            false => format!("{beside}{}", names.decoder),
        };
        let bias = names.bias.iter().find(|name| stored(name)).or(names.bias.first());
        Ok(Self {
            dense,
            activation: names.activation.unwrap_or(match config.architecture.fields.classifier {
                // The head of a classifier and this one have the same function then.
                Some(_) => config.head_activation,
                None => config.activation,
            }),
            norm: format!("{beside}{}", names.norm),
            decoder,
            bias: bias.filter(|_| config.decoder_bias).map(|bias| format!("{beside}{bias}")),
        })
    }
}
