//! The choices that shape a vector, as words: how token states become one vector, and in which numbers.
//! The word of a choice is the same in flags, in `bundle.toml` and in a fingerprint.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Error;

/// How the states of a text's tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The state of the first token.
    Cls,
    /// The mean of the states of all tokens that are no padding.
    Mean,
}

/// The numbers that a graph computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point, weights and activations.
    #[default]
    Fp32,
    /// 8-bit integers in the products with weights, 32-bit floating point elsewhere.
    Int8,
    /// 16-bit floating point (IEEE 754 binary16) for weights and products; sums over a text or a row in 32-bit. For
    /// providers of graphics cards.
    Fp16,
    /// Whatever the ONNX file computes in that a bundle was made from; not a choice.
    Mixed,
}

impl Pooling {
    /// Every pooling, in the order in which messages list them.
    pub const ALL: [Self; 2] = [Self::Cls, Self::Mean];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Mean => "mean",
        }
    }
}

impl Precision {
    /// Every precision that can be asked for, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Fp32, Self::Fp16, Self::Int8];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
            Self::Fp16 => "fp16",
            Self::Mixed => "mixed",
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Pooling {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        let known = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|pooling| pooling.name() == word).ok_or_else(|| unknown("pooling", word, &known))
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        let known = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|choice| choice.name() == word).ok_or_else(|| unknown("precision", word, &known))
    }
}

fn unknown(what: &'static str, word: &str, known: &[&str]) -> Error {
    Error::UnknownChoice { what, word: word.to_owned(), known: known.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_round() {
        for pooling in Pooling::ALL {
            assert_eq!(pooling.name().parse::<Pooling>().unwrap(), pooling);
            assert_eq!(serde_json::to_string(&pooling).unwrap(), format!("\"{pooling}\""));
        }
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
            assert_eq!(serde_json::to_string(&precision).unwrap(), format!("\"{precision}\""));
        }
    }

    #[test]
    fn an_unknown_word_lists_the_known_ones() {
        let error = "max".parse::<Pooling>().unwrap_err();
        assert_eq!(error.to_string(), "unknown pooling `max`, known are: cls, mean");
        let error = "FP32".parse::<Precision>().unwrap_err();
        assert_eq!(error.to_string(), "unknown precision `FP32`, known are: fp32, fp16, int8");
    }
}
