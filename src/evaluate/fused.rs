//! Whether heads in a graph answer as the heads beside it do: built-in texts go through encoder and head, and through the
//! graph that both were fused into. Knows how far apart answers may be; what to do about it is the caller's business.

use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{Error, view};
use crate::encode::{BundleEncoder, BundleWithHeads, built_in_texts, run_alone_and_together};
use crate::heads::{Head, Meaning};
use crate::model::{GraphHead, Task, given_label};

/// How far a probability may be off, and a number of a regression or a score as a share of its scale.
pub const FUSED_TOLERANCE: f64 = 1e-6;

/// Of this, what the built-in texts may take where it can be less: a corpus has more texts, and worse ones among them.
const ROOMY_SHARE: f64 = 0.25;

/// Texts get no longer than this many tokens or a little more: a head sees one vector, however long its text was.
const LONGEST_TEXT: usize = 24;

/// What was measured of one head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadAgreement {
    /// The head's name.
    pub name: String,
    /// Largest difference of a probability; of a number or score beyond its rounding to f32, as a share of its scale.
    pub max_delta: f64,
    /// Texts that get other labels.
    pub labels_differ: usize,
}

impl HeadAgreement {
    /// Whether the head in the graph may stand for the one beside it.
    pub fn holds(&self) -> bool {
        self.max_delta <= FUSED_TOLERANCE && self.labels_differ == 0
    }

    /// Whether the head is too close to the tolerance to be trusted in f32.
    pub fn needs_f64(&self) -> bool {
        let roomy = self.max_delta <= FUSED_TOLERANCE * ROOMY_SHARE;
        !roomy || self.labels_differ > 0
    }
}

/// What was measured of a fused bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FusedAgreement {
    /// Texts that were run.
    pub texts: usize,
    /// Texts whose vector, or whose answers by heads that were in the graph before, have other bits.
    pub old_rows_differ: usize,
    /// Texts whose row has other bits in a batch than alone, beyond those where `plain` has so, too.
    pub batch_rows_differ: usize,
    /// The new heads.
    pub heads: Vec<HeadAgreement>,
}

impl FusedAgreement {
    /// Whether the fused bundle may stand for encoder and heads.
    pub fn holds(&self) -> bool {
        self.old_rows_differ == 0 && self.batch_rows_differ == 0 && self.heads.iter().all(HeadAgreement::holds)
    }
}

/// Runs built-in texts through `plain` and the heads, then through `fused`, which carries these heads, in their order,
/// behind those of `plain`. One encoder is open at a time.
///
/// # Errors
/// An encoder that cannot be opened or run, and heads that don't take its vectors.
pub fn fused_agreement(plain: &BundleEncoder, fused: &BundleEncoder, heads: &[Head]) -> Result<FusedAgreement, Error> {
    let old = &plain.bundle.manifest;
    let texts = built_in_texts(old.max_length.min(LONGEST_TEXT));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let all_rows = |encoder| BundleWithHeads { encoder, heads: &encoder.bundle.manifest.heads };
    let (before, before_together) = run_alone_and_together(&all_rows(plain), &texts)?;
    let (alone, together) = run_alone_and_together(&all_rows(fused), &texts)?;
    let (before, before_together) = (view(&before), view(&before_together));
    let (after, together) = (view(&alone), view(&together));
    let old_rows_differ = rows_differ(before, after.slice(ndarray::s![.., ..before.ncols()]));
    let embeddings = before.slice(ndarray::s![.., ..old.dim]);
    let mut first = before.ncols();
    let new = &fused.bundle.manifest.heads[old.heads.len()..];
    let mut agreement = |(head, in_graph): (&Head, &GraphHead)| {
        let columns = first..first + in_graph.labels.len();
        first = columns.end;
        let (expected, got) = (head.predict(embeddings)?, after.slice(ndarray::s![.., columns]));
        Ok(HeadAgreement {
            name: in_graph.name.clone(),
            max_delta: max_delta(head, expected.view(), got),
            labels_differ: labels_differ(head, expected.view(), got),
        })
    };
    let heads = heads.iter().zip(new).map(&mut agreement).collect::<Result<_, Error>>()?;
    // What the plain bundle does itself is no fault of the fusion.
    let differ = |row: &usize| !same_bits(after.row(*row), together.row(*row));
    let steady = |row: &usize| same_bits(before.row(*row), before_together.row(*row));
    let batch_rows_differ = (0..texts.len()).filter(steady).filter(differ).count();
    Ok(FusedAgreement { texts: texts.len(), old_rows_differ, batch_rows_differ, heads })
}

/// Rows that differ in at least one bit.
fn rows_differ(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> usize {
    a.rows().into_iter().zip(b.rows()).filter(|(a, b)| !same_bits(*a, *b)).count()
}

fn same_bits(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> bool {
    a.iter().map(|value| value.to_bits()).eq(b.iter().map(|value| value.to_bits()))
}

fn max_delta(head: &Head, expected: ArrayView2<'_, f32>, got: ArrayView2<'_, f32>) -> f64 {
    let largest = |column: usize| expected.column(column).iter().fold(0.0, |max: f64, x| max.max(f64::from(x.abs())));
    let is_probability = head.meaning() == Meaning::Probability;
    let scale = |column: usize| match &head.scaling {
        _ if is_probability => 1.0,
        Some(scaling) => scaling.scale[column],
        None => largest(column).max(f64::MIN_POSITIVE),
    };
    let delta = |((row, column), &expected): ((usize, usize), &f32)| {
        let (got, expected) = (f64::from(got[[row, column]]), f64::from(expected));
        // The last bit of a number says nothing: both sides are rounded once.
        let rounding = if is_probability { 0.0 } else { expected.abs() * f64::from(f32::EPSILON) };
        ((got - expected).abs() - rounding).max(0.0) / scale(column)
    };
    // NaN stays: it is no agreement.
    expected.indexed_iter().map(delta).fold(0.0, |max, delta| if delta > max || delta.is_nan() { delta } else { max })
}

fn labels_differ(head: &Head, expected: ArrayView2<'_, f32>, got: ArrayView2<'_, f32>) -> usize {
    // In f32, as predictions are given.
    let reaches = |row: &[f32], column: usize| row[column] >= head.threshold(column) as f32;
    let given = |row: ArrayView1<'_, f32>| -> Vec<usize> {
        let row = row.to_vec();
        match head.task {
            Task::Classification => vec![given_label(head.thresholds.as_deref(), &row)],
            Task::Multilabel => (0..row.len()).filter(|&column| reaches(&row, column)).collect(),
            Task::Regression => Vec::new(),
        }
    };
    expected.rows().into_iter().zip(got.rows()).filter(|(a, b)| given(*a) != given(*b)).count()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ndarray::array;

    use super::*;

    fn head(name: &str) -> Head {
        Head::load(&Path::new("tests/data/heads").join(name)).unwrap()
    }

    #[test]
    fn probabilities_are_compared_as_they_are_and_numbers_by_their_scale() {
        let (a, b) = (array![[0.25_f32, 0.5, 0.75]], array![[0.25_f32, 0.5, 0.7500001]]);
        let delta = max_delta(&head("tags.head"), a.view(), b.view());
        assert!((1e-7..1.3e-7).contains(&delta), "{delta:e}");
        // One step of f32 around 2000 is 1.2e-4: it is rounding, two steps are not.
        let (year, next, second) = (2000.0_f32, 2000.0_f32.next_up(), 2000.0_f32.next_up().next_up());
        let numbers = head("numbers.head");
        let of = |year: f32| array![[year, 4000.0]];
        assert_eq!(max_delta(&numbers, of(year).view(), of(next).view()), 0.0);
        let delta = max_delta(&numbers, of(year).view(), of(second).view());
        assert!(delta > 1e-7 && delta < 1e-4, "{delta:e}");
        let delta = max_delta(&head("year.head"), array![[2000.0_f32]].view(), array![[2001.0_f32]].view());
        assert!((delta - 1.0 / 2000.0).abs() < 1e-6, "{delta:e}");
    }

    #[test]
    fn labels_are_those_that_would_be_given() {
        let tags = head("tags.head");
        assert_eq!(labels_differ(&tags, array![[0.36_f32, 0.5, 0.7]].view(), array![[0.9_f32, 0.6, 0.79]].view()), 0);
        assert_eq!(labels_differ(&tags, array![[0.36_f32, 0.5, 0.8]].view(), array![[0.34_f32, 0.5, 0.8]].view()), 1);
        let open = head("open.head");
        assert_eq!(labels_differ(&open, array![[0.4_f32, 0.6]].view(), array![[0.6_f32, 0.4]].view()), 1);
        assert_eq!(labels_differ(&head("year.head"), array![[1.0_f32]].view(), array![[2.0_f32]].view()), 0);
    }

    #[test]
    fn one_bit_makes_a_row_differ() {
        let (a, b) = (array![[0.0_f32, 1.0], [2.0, 3.0]], array![[-0.0_f32, 1.0], [2.0, 3.0]]);
        assert_eq!((rows_differ(a.view(), a.view()), rows_differ(a.view(), b.view())), (0, 1));
    }

    #[test]
    fn every_kind_of_disagreement_counts() {
        let sound = FusedAgreement {
            texts: 3,
            old_rows_differ: 0,
            batch_rows_differ: 0,
            heads: vec![HeadAgreement { name: "x".into(), max_delta: 1e-6, labels_differ: 0 }],
        };
        assert!(sound.holds());
        assert!(!FusedAgreement { old_rows_differ: 1, ..sound.clone() }.holds());
        assert!(!FusedAgreement { batch_rows_differ: 1, ..sound.clone() }.holds());
        let heads = |max_delta, labels_differ| vec![HeadAgreement { name: "x".into(), max_delta, labels_differ }];
        for heads in [heads(1.1e-6, 0), heads(f64::NAN, 0), heads(0.0, 1)] {
            assert!(!FusedAgreement { heads, ..sound.clone() }.holds());
        }
    }
}
