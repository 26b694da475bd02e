//! Where the tensors of a bottleneck adapter stand in the base model. Owns the two naming schemes (that of the `adapters`
//! library and that of its predecessor); every tensor of a file is taken once, or the adapter is refused.

use std::collections::BTreeMap;

use super::super::{EncoderConfig, Error, Weights};
use super::AdapterError;

/// What stands between the place in a layer and the adapter's name: today, and in files of the library's first versions.
const MODULES: [&str; 5] = [
    ".adapters.",
    ".layer_text_task_adapters.",
    ".layer_text_lang_adapters.",
    ".attention_text_task_adapters.",
    ".attention_text_lang_adapters.",
];

/// The tensors of an adapter's file by their place: names within the encoder, the adapter's own name left out.
#[derive(Debug)]
pub(super) struct Places<'w> {
    weights: &'w Weights,
    names: BTreeMap<String, &'w str>,
    /// Tensors that stand elsewhere.
    unplaced: Vec<&'w str>,
}

impl<'w> Places<'w> {
    /// Sorts the file's tensors. `name` is the adapter's name in its config.
    pub fn new(weights: &'w Weights, base: &EncoderConfig, name: Option<&str>) -> Result<Self, Error> {
        let stem = base.architecture.layers.stem();
        let mut places = Self { weights, names: BTreeMap::new(), unplaced: Vec::new() };
        let mut expected = name.map(str::to_owned);
        for tensor in weights.names() {
            let Some((place, adapter)) = place(tensor, stem) else {
                places.unplaced.push(tensor);
                continue;
            };
            if expected.get_or_insert_with(|| adapter.to_owned()) != adapter {
                let (path, got) = (weights.path().to_owned(), adapter.to_owned());
                return Err(AdapterError::OtherName { path, got, expected: expected.unwrap_or_default() }.into());
            }
            places.unplaced.extend(places.names.insert(place, tensor));
        }
        Ok(places)
    }

    /// Takes out the tensor that stands at `place`, which must have this shape.
    pub fn take(&mut self, place: &str, shape: &[usize]) -> Result<String, Error> {
        let Some(name) = self.names.remove(place) else {
            return Err(
                AdapterError::NoTensor { path: self.weights.path().to_owned(), tensor: place.to_owned() }.into()
            );
        };
        check_shape(self.weights, name, shape)?;
        Ok(name.to_owned())
    }

    /// Leaves out what stands at `place`, where something does.
    pub fn leave_out(&mut self, place: &str) {
        self.names.remove(place);
    }

    /// An error if a tensor of the file was not taken.
    pub fn finish(self) -> Result<(), Error> {
        let mut left: Vec<&str> = self.unplaced.into_iter().chain(self.names.into_values()).collect();
        left.sort_unstable();
        match left.first() {
            None => Ok(()),
            Some(first) => {
                let (path, first) = (self.weights.path().to_owned(), (*first).to_owned());
                Err(AdapterError::NoPlace { path, count: left.len(), first }.into())
            }
        }
    }
}

/// That a tensor of the file has this shape and a type that is read.
pub(super) fn check_shape(weights: &Weights, name: &str, shape: &[usize]) -> Result<(), Error> {
    match weights.tensor(name, shape) {
        Ok(_) => Ok(()),
        Err(Error::TensorShape { path, tensor, got, expected }) => {
            Err(AdapterError::Shape { path, tensor, got, expected }.into())
        }
        Err(error) => Err(error),
    }
}

/// The tensor's place and the adapter's name: `bert.encoder.layer.0.output.adapters.NAME.adapter_up.weight` stands at
/// `encoder.layer.0.output.adapter_up.weight`.
fn place<'n>(tensor: &'n str, stem: &str) -> Option<(String, &'n str)> {
    let start = tensor.match_indices(stem).map(|(at, _)| at).find(|at| *at == 0 || tensor[..*at].ends_with('.'))?;
    let tensor = &tensor[start..];
    let (before, rest) = MODULES.iter().find_map(|module| tensor.split_once(module))?;
    let (adapter, rest) = rest.split_once('.')?;
    Some((format!("{before}.{rest}"), adapter))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn names_of_both_schemes_stand_at_one_place() {
        let expected = Some(("encoder.layer.11.output.adapter_down.0.weight".to_owned(), "[PRX]"));
        for name in [
            "bert.encoder.layer.11.output.adapters.[PRX].adapter_down.0.weight",
            "encoder.layer.11.output.adapters.[PRX].adapter_down.0.weight",
            "roberta.encoder.layer.11.output.layer_text_task_adapters.[PRX].adapter_down.0.weight",
        ] {
            assert_eq!(place(name, "encoder.layer."), expected, "{name}");
        }
        for name in ["heads.x.1.weight", "bert.encoder.layer.1.output.dense.weight", "invertible_adapters.x.F.0.weight"]
        {
            assert_eq!(place(name, "encoder.layer."), None, "{name}");
        }
    }
}
