//! Rows of one part of a split that another part has, too: the same text, the same vector, or nearly. Such a row is not
//! measured but remembered.
//!
//! Knows rows of floats, ids and names of parts. Memory: two blocks of rows and their products for each thread.
//! Invariant: each row of a later part is compared with every earlier part by itself, on any number of threads alike.

use std::collections::HashMap;
use std::ops::Range;

use ndarray::{Array2, ArrayView2, linalg::general_mat_mul};
use rayon::prelude::*;
use serde::Serialize;

use super::error::Error;
use crate::heads::{Random, Rows, TRAIN};

/// Rows that are looked up at once, and rows that they are looked up among: their products stay in the second cache.
const BLOCKS: (usize, usize) = (128, 1024);
/// Beyond the rounding of a product in f32: what is that near is worked out again.
const ROUNDING: f32 = 1e-4;

/// Rows that are spread over the parts of a split.
#[derive(Clone, Copy)]
pub struct LeakRows<'a> {
    /// The vectors.
    pub rows: &'a dyn Rows,
    /// The id of each row.
    pub ids: &'a [String],
    /// The part of each; a row without one is not looked at.
    pub parts: &'a [Option<String>],
    /// A hash of the text of each, if there are texts.
    pub texts: Option<&'a [u64]>,
}

/// What counts as a leak, and how far it is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeakOptions {
    /// Cosine from which two rows are nearly the same; none to look for the same text or vector alone.
    pub threshold: Option<f64>,
    /// Twins that are listed for a pair of parts; all are counted.
    pub most_listed: usize,
    /// Products of two rows, the same number for every pair of parts; of a pair with more, so many rows of the later part
    /// are drawn at random.
    pub most_products: usize,
}

impl Default for LeakOptions {
    /// Cosine 0.98, 100 listed, 10⁹ products in all (of 384 numbers each: 768 GFLOP).
    fn default() -> Self {
        Self { threshold: Some(0.98), most_listed: 100, most_products: 1_000_000_000 }
    }
}

/// Leaks by pair of parts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leaks {
    /// Cosine from which two rows are nearly the same; none where near twins were not looked for.
    pub threshold: Option<f64>,
    /// Every pair of parts: `train` comes first, then by name.
    pub pairs: Vec<LeaksOfParts>,
}

/// Rows of a later part that an earlier one has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeaksOfParts {
    /// The earlier part.
    pub earlier: String,
    /// The later part.
    pub later: String,
    /// Rows of the later part.
    pub rows: usize,
    /// Rows with a text or vector that the earlier part has.
    pub exact: usize,
    /// Rows without such, of which near twins were looked for: all of them, as many as were drawn, or none where nobody
    /// asked.
    pub compared: usize,
    /// Those of them whose nearest row of the earlier part is nearly the same.
    pub near: usize,
    /// Some of them, the nearest first.
    pub twins: Vec<Twin>,
}

impl LeaksOfParts {
    /// Of how many rows those were drawn of which near twins were looked for; none where all were looked at, or no row.
    pub fn drawn_from(&self) -> Option<usize> {
        Some(self.rows - self.exact).filter(|&rest| self.compared > 0 && rest > self.compared)
    }
}

/// A row and its nearest of another part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Twin {
    /// Id in the earlier part.
    pub earlier: String,
    /// Id in the later part.
    pub later: String,
    /// Cosine of their vectors; none of the same text, whose vectors are not looked at.
    pub cosine: Option<f64>,
}

/// Looks for the rows of each part in every earlier part.
///
/// # Errors
/// Ids, parts or texts that are not one for each row, a threshold that is no cosine above 0.
pub fn find_leaks(data: &LeakRows<'_>, options: &LeakOptions) -> Result<Leaks, Error> {
    let rows = data.rows.count();
    let given =
        [("ids", data.ids.len()), ("parts", data.parts.len()), ("texts", data.texts.map_or(rows, <[u64]>::len))];
    if let Some(&(what, got)) = given.iter().find(|(_, got)| *got != rows) {
        return Err(Error::RowFacts { what, got, rows });
    }
    if let Some(threshold) = options.threshold.filter(|&threshold| !(threshold > 0.0 && threshold <= 1.0)) {
        return Err(Error::NearThreshold { threshold });
    }
    let mut names: Vec<&str> = data.parts.iter().flatten().map(String::as_str).collect();
    names.sort_unstable_by_key(|&name| (name != TRAIN, name));
    names.dedup();
    let members = |name: &str| (0..rows).filter(|&row| data.parts[row].as_deref() == Some(name)).collect();
    let parts: Vec<(&str, Vec<usize>)> = names.iter().map(|&name| (name, members(name))).collect();
    let norms = inverse_norms(data.rows);
    let all_pairs = parts.len() * parts.len().saturating_sub(1) / 2;
    let look = Look { data, options, norms: &norms, most_products: options.most_products / all_pairs.max(1) };
    let mut pairs = Vec::new();
    for (at, later) in parts.iter().enumerate().skip(1) {
        pairs.extend(parts[..at].iter().map(|earlier| look.compare(earlier, later)));
    }
    Ok(Leaks { threshold: options.threshold, pairs })
}

/// 1 / |row|; 0 of a row without a direction, which is then like no other.
fn inverse_norms(rows: &dyn Rows) -> Vec<f32> {
    let norm = |row: &[f32]| row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    let inverse = |row: usize| Some((1.0 / norm(rows.row(row))) as f32).filter(|inverse| inverse.is_finite());
    (0..rows.count()).into_par_iter().map(|row| inverse(row).unwrap_or(0.0)).collect()
}

/// A row of the later part, its twin of the earlier one and their cosine.
type Found = (usize, usize, Option<f64>);

struct Look<'a> {
    data: &'a LeakRows<'a>,
    options: &'a LeakOptions,
    norms: &'a [f32],
    /// For one pair of parts.
    most_products: usize,
}

impl Look<'_> {
    fn compare(&self, earlier: &(&str, Vec<usize>), later: &(&str, Vec<usize>)) -> LeaksOfParts {
        let (mut twins, rest) = self.exact(&earlier.1, &later.1);
        let exact = twins.len();
        let compared = if self.options.threshold.is_some() { self.drawn(rest, earlier.1.len()) } else { Vec::new() };
        let mut near = self.options.threshold.map_or_else(Vec::new, |least| self.near((&earlier.1, &compared), least));
        let (count, looked) = (near.len(), compared.len());
        near.sort_by(|a, b| b.2.unwrap_or(1.0).total_cmp(&a.2.unwrap_or(1.0)));
        twins.extend(near);
        twins.truncate(self.options.most_listed);
        let twin = |(later, earlier, cosine): Found| Twin {
            earlier: self.data.ids[earlier].clone(),
            later: self.data.ids[later].clone(),
            cosine,
        };
        LeaksOfParts {
            earlier: earlier.0.to_owned(),
            later: later.0.to_owned(),
            rows: later.1.len(),
            exact,
            compared: looked,
            near: count,
            twins: twins.into_iter().map(twin).collect(),
        }
    }

    /// Rows with a text or a vector that the earlier part has, each with the first that has it; and the other rows.
    fn exact(&self, earlier: &[usize], later: &[usize]) -> (Vec<Found>, Vec<usize>) {
        let mut by_text: HashMap<u64, usize> = HashMap::new();
        let mut by_vector: HashMap<[u8; 32], usize> = HashMap::with_capacity(earlier.len());
        for &row in earlier {
            if let Some(texts) = self.data.texts {
                by_text.entry(texts[row]).or_insert(row);
            }
            by_vector.entry(self.vector_hash(row)).or_insert(row);
        }
        let (mut found, mut rest) = (Vec::new(), Vec::new());
        for &row in later {
            let same_text = self.data.texts.and_then(|texts| by_text.get(&texts[row]));
            let same_vector = || by_vector.get(&self.vector_hash(row));
            match (same_text, same_text.is_none().then(same_vector).flatten()) {
                (Some(&twin), _) => found.push((row, twin, None)),
                (None, Some(&twin)) => found.push((row, twin, Some(1.0))),
                (None, None) => rest.push(row),
            }
        }
        (found, rest)
    }

    fn vector_hash(&self, row: usize) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        self.data.rows.row(row).iter().for_each(|value| {
            hasher.update(&value.to_bits().to_le_bytes());
        });
        *hasher.finalize().as_bytes()
    }

    /// As many of the rows as may be compared with so many earlier ones, in their order.
    fn drawn(&self, mut rows: Vec<usize>, earlier: usize) -> Vec<usize> {
        let most = (self.most_products / earlier.max(1)).max(1);
        if rows.len() > most {
            Random::new(0).shuffle(&mut rows);
            rows.truncate(most);
            rows.sort_unstable();
        }
        rows
    }

    /// The rows whose nearest of the earlier part is near enough.
    fn near(&self, (earlier, later): (&[usize], &[usize]), least: f64) -> Vec<Found> {
        let blocks: Vec<&[usize]> = later.chunks(BLOCKS.0).collect();
        let near = |block| self.near_block((earlier, block), least);
        let found: Vec<Vec<Found>> = blocks.into_par_iter().map(near).collect();
        found.into_iter().flatten().collect()
    }

    fn near_block(&self, (earlier, block): (&[usize], &[usize]), least: f64) -> Vec<Found> {
        let mut best: Vec<(f32, usize)> = vec![(f32::NEG_INFINITY, 0); block.len()];
        let mut products = Array2::<f32>::zeros((block.len(), BLOCKS.1.min(earlier.len())));
        let (mut own, mut others) = (Vec::new(), Vec::new());
        let queries = self.gather(block, &mut own);
        for start in (0..earlier.len()).step_by(BLOCKS.1) {
            let range = start..(start + BLOCKS.1).min(earlier.len());
            let known = self.gather(&earlier[range.clone()], &mut others);
            let mut products = products.slice_mut(ndarray::s![.., ..range.len()]);
            general_mat_mul(1.0, &queries, &known.t(), 0.0, &mut products);
            self.take_best((earlier, range), products.view(), &mut best);
        }
        let decide = |(&row, &(cosine, twin)): (&usize, &(f32, usize))| {
            let cosine = cosine * self.norms[row];
            (f64::from(cosine + ROUNDING) >= least).then(|| (row, twin, self.cosine(row, twin)))
        };
        let near = |found: &Found| found.2.is_some_and(|cosine| cosine >= least);
        block.iter().zip(&best).filter_map(decide).filter(near).collect()
    }

    fn gather<'b>(&self, rows: &[usize], buffer: &'b mut Vec<f32>) -> ArrayView2<'b, f32> {
        buffer.clear();
        rows.iter().for_each(|&row| buffer.extend_from_slice(self.data.rows.row(row)));
        ArrayView2::from_shape((rows.len(), self.data.rows.dim()), buffer).expect("every row has `dim` numbers")
    }

    /// The nearest so far, of equals the first; but for the queries' own norms, which don't change the order.
    fn take_best(
        &self,
        (earlier, range): (&[usize], Range<usize>),
        products: ArrayView2<'_, f32>,
        best: &mut [(f32, usize)],
    ) {
        for (products, best) in products.rows().into_iter().zip(best) {
            for (product, &row) in products.iter().zip(&earlier[range.clone()]) {
                let cosine = product * self.norms[row];
                if cosine > best.0 {
                    *best = (cosine, row);
                }
            }
        }
    }

    fn cosine(&self, a: usize, b: usize) -> Option<f64> {
        let (a, b) = (self.data.rows.row(a), self.data.rows.row(b));
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let cosine = product(a, b) / (product(a, a) * product(b, b)).sqrt();
        cosine.is_finite().then_some(cosine.min(1.0))
    }
}

#[cfg(test)]
#[path = "leaks_tests.rs"]
mod tests;
