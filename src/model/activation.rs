//! The functions that stand between two linear layers, by their names in config.json.

/// The function between the two products of a feed-forward block, or of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x Φ(x), by the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// x σ(1.702 x).
    QuickGelu,
    /// max(x, 0).
    Relu,
    /// x σ(x).
    Silu,
    /// tanh x.
    Tanh,
}

impl Activation {
    /// The names that config.json may use, as messages list them.
    pub(super) const NAMES: [&'static str; 11] = [
        "gelu",
        "gelu_python",
        "gelu_new",
        "gelu_fast",
        "gelu_pytorch_tanh",
        "gelu_python_tanh",
        "relu",
        "silu",
        "swish",
        "quick_gelu",
        "tanh",
    ];

    /// The function of that name.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "gelu" | "gelu_python" => Some(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_python_tanh" => Some(Self::GeluTanh),
            "quick_gelu" => Some(Self::QuickGelu),
            "relu" => Some(Self::Relu),
            "silu" | "swish" => Some(Self::Silu),
            "tanh" => Some(Self::Tanh),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_is_known() {
        assert!(Activation::NAMES.iter().all(|name| Activation::of(name).is_some()));
        assert_eq!(Activation::of("mish"), None);
    }
}
