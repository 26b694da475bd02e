//! What the user says of a run whose provider can't do it as it should: refused, or done on the CPU provider. Owns the words.
//! Invariant: without a word nothing falls back.

use std::fmt;
use std::str::FromStr;

use super::error::Error;

/// What `--fallback` says. Without it a named provider takes the run or is an error; `auto` takes what there is, but no
/// bundle on a provider that its precision is not for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Refuse.
    Error,
    /// Run on the CPU provider; whoever prints is to say so.
    Warn,
    /// Run on the CPU provider.
    Allow,
}

impl Fallback {
    /// Each of them, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warn, Self::Allow];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Allow => "allow",
        }
    }

    /// Whether the CPU provider may take over.
    pub(super) fn permits(asked: Option<Self>) -> bool {
        matches!(asked, Some(Self::Warn | Self::Allow))
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Fallback {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|fallback| fallback.name() == word).ok_or_else(|| Error::UnknownFallback {
            word: word.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_round_and_an_unknown_one_lists_them() {
        for fallback in Fallback::ALL {
            assert_eq!(fallback.to_string().parse::<Fallback>().unwrap(), fallback);
        }
        let error = "cpu".parse::<Fallback>().unwrap_err().to_string();
        assert_eq!(error, "unknown fallback `cpu`, known are: error, warn, allow");
    }
}
