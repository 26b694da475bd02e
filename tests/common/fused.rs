//! Heads for the tiny bundle, and the rows of a bundle's graph.

// Every test file compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use std::path::Path;

use ndarray::Array2;
use offprint::encode::{BundleEncoder, Encoding, OpenedEncoder, assemble};
use offprint::heads::Head;
use offprint::model::Bundle;

use crate::common::{Workplace, root, tiny_reference_bundle};

/// The heads in `tests/data/heads` that scikit-learn fitted around the vectors of [`bundle`].
pub const HEADS: [&str; 5] = ["topic", "open", "tags", "numbers", "year"];

/// The bundle whose vectors the heads were fitted for.
pub fn bundle() -> String {
    tiny_reference_bundle("cls")
}

/// The committed head, as if it had been trained on `bundle`.
pub fn head_for(bundle: &str, name: &str) -> Head {
    let mut head = Head::load(&root().join("tests/data/heads").join(name).with_extension("head")).unwrap();
    head.identity = Bundle::open(Path::new(bundle)).unwrap().identity().fields().clone();
    head
}

/// Saves a head as `<name>.head`.
pub fn save(place: &Workplace, head: &Head, name: &str) {
    head.save(&place.path(&format!("{name}.head"))).unwrap();
}

/// Saves the committed heads, as if they had been trained on [`bundle`].
pub fn save_heads(place: &Workplace) {
    for name in HEADS {
        save(place, &head_for(&bundle(), name), name);
    }
}

/// A bundle's graph, opened for some of its outputs.
pub struct Graph {
    opened: OpenedEncoder,
    dim: usize,
}

impl Graph {
    pub fn open(bundle: &Path, outputs: &[(&str, usize)]) -> Self {
        let bundle = Bundle::open(bundle).unwrap();
        let encoder = BundleEncoder::on_cpu(bundle, 2);
        let dim = outputs.iter().map(|(_, width)| width).sum();
        Self { opened: encoder.open_outputs(outputs).unwrap(), dim }
    }

    /// A row for each text, in batches of `size` texts.
    pub fn rows(&mut self, texts: &[&str], size: usize) -> Array2<f32> {
        let titled: Vec<(&str, usize)> = texts.iter().map(|&text| (text, 0)).collect();
        let encodings: Vec<Encoding> =
            self.opened.tokenizer.encode_all(&titled).into_iter().map(Result::unwrap).collect();
        let mut data = Vec::new();
        for batch in encodings.chunks(size) {
            let batch: Vec<&Encoding> = batch.iter().collect();
            let batch = assemble(&batch, self.opened.tokenizer.pad_id());
            data.extend(self.opened.sessions[0].run(&batch).unwrap().data);
        }
        Array2::from_shape_vec((texts.len(), self.dim), data).unwrap()
    }
}

/// Bits of all numbers, to be compared.
pub fn bits(rows: &Array2<f32>) -> Vec<u32> {
    rows.iter().map(|value| value.to_bits()).collect()
}
