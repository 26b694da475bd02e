//! `[quality]` in `bundle.toml`: how far a bundle's numbers are from those of its original, and where that was measured.
//! Owns the figures and what they may be; measures nothing. Invariant: a bundle without an original has no figures.

use serde::{Deserialize, Serialize};

/// What stands for the original where there is none to compare with.
const NO_ORIGINAL: &str = "none";

/// What is known of a bundle's quality beside its original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// What the bundle was compared with, in words; `none` where there is nothing to compare it with.
    pub original: String,
    /// The fingerprint of the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_fingerprint: Option<String>,
    /// What was measured; absent where there is no original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredQuality>,
    /// How the answers of heads change: those in the graph, or the one that was given.
    #[serde(default, rename = "head", skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadQuality>,
}

/// How the vectors of a new bundle differ from those of its original, text by text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredQuality {
    /// The texts' name: the corpus as it was given, or `built-in texts`.
    pub corpus: String,
    /// Texts compared.
    pub texts: u64,
    /// Least cosine between a text's two vectors.
    pub cosine_min: f64,
    /// The cosine below which 1 % of the texts lie, linear between two of them.
    pub cosine_1_percent: f64,
    /// Median of the cosines.
    pub cosine_median: f64,
    /// Mean of the cosines.
    pub cosine_mean: f64,
    /// Largest difference of a component.
    pub max_delta: f64,
    /// Texts among which neighbours were looked for: all different ones, or a sample of them.
    pub neighbour_texts: u64,
    /// Neighbours of a text that were compared: its nearest by cosine, ten where there are as many.
    pub neighbours: u64,
    /// Share of these that are also among the nearest on the new bundle, 0 to 1.
    pub neighbours_kept: f64,
    /// Share of texts whose nearest neighbour is the same, 0 to 1.
    pub first_neighbour_kept: f64,
    /// Execution provider that ran both graphs.
    pub provider: String,
    /// Version of the ONNX Runtime that ran them.
    pub onnxruntime: String,
    /// Processor and its instruction sets.
    pub cpu: String,
}

/// How a head's answers on the new bundle differ from those on the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadQuality {
    /// Its name in the graph, or its file's.
    pub name: String,
    /// Largest difference of a probability, or of a number of a regression.
    pub max_delta: f64,
    /// Texts that get another label, or other labels; none for a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_changed: Option<u64>,
    /// How often it is right on both, where the corpus says what is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<F1Quality>,
}

/// A head's F1 on the original and on the new bundle. Macro-F1 is the mean over the labels that are right for some text,
/// on either side: scikit-learn's `f1_score` with these as `labels`. Micro-F1 counts every label that is right or given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct F1Quality {
    /// The field with the right label.
    pub label: String,
    /// Texts that the corpus labels.
    pub texts: u64,
    /// Texts that it doesn't label, which are left out.
    pub unlabelled: u64,
    /// Labels that the head doesn't know, each text counted by itself: missed on either side.
    pub unknown_labels: u64,
    /// Micro-F1 on the original, where a text may have several labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_original: Option<f64>,
    /// Micro-F1 on the new bundle, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro: Option<f64>,
    /// Macro-F1 on the original.
    pub macro_original: f64,
    /// Macro-F1 on the new bundle.
    #[serde(rename = "macro")]
    pub macro_new: f64,
    /// Macro-F1 on the original less that on the new bundle: above 0 where the new bundle is worse.
    pub macro_drop: f64,
}

impl Quality {
    /// The record of a bundle whose numbers can be compared with nothing.
    pub fn without_original() -> Self {
        Self { original: NO_ORIGINAL.to_owned(), original_fingerprint: None, measured: None, heads: Vec::new() }
    }

    /// What is wrong with the record: field, got, expected.
    pub(super) fn problem(&self) -> Option<(String, String, String)> {
        let wrong =
            |field: &str, got: String, expected: &str| Some((format!("quality.{field}"), got, expected.to_owned()));
        let compared = self.original != NO_ORIGINAL;
        if compared != self.measured.is_some() || compared != self.original_fingerprint.is_some() {
            let got = format!("`{}`, fingerprint and figures: {}", self.original, self.measured.is_some());
            return wrong("original", got, "`none` without figures, or an original with fingerprint and figures");
        }
        if !self.heads.is_empty() && !compared {
            return wrong("head", "figures".to_owned(), "none, as there is no original");
        }
        let numbers = self.measured.iter().flat_map(MeasuredQuality::numbers);
        let numbers = numbers.chain(self.heads.iter().flat_map(HeadQuality::numbers));
        for (field, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                return wrong(field, value.to_string(), &format!("{least} to {most}"));
            }
        }
        None
    }
}

/// A number with its name, the least and the most that it may be.
type Bounded = (&'static str, f64, f64, f64);

impl MeasuredQuality {
    fn numbers(&self) -> [Bounded; 7] {
        [
            ("measured.cosine_min", self.cosine_min, -1.0, 1.0),
            ("measured.cosine_1_percent", self.cosine_1_percent, -1.0, 1.0),
            ("measured.cosine_median", self.cosine_median, -1.0, 1.0),
            ("measured.cosine_mean", self.cosine_mean, -1.0, 1.0),
            ("measured.max_delta", self.max_delta, 0.0, f64::MAX),
            ("measured.neighbours_kept", self.neighbours_kept, 0.0, 1.0),
            ("measured.first_neighbour_kept", self.first_neighbour_kept, 0.0, 1.0),
        ]
    }
}

impl HeadQuality {
    fn numbers(&self) -> Vec<Bounded> {
        let of_f1 = |f1: &F1Quality| {
            [
                ("head.f1.micro_original", f1.micro_original.unwrap_or(0.0), 0.0, 1.0),
                ("head.f1.micro", f1.micro.unwrap_or(0.0), 0.0, 1.0),
                ("head.f1.macro_original", f1.macro_original, 0.0, 1.0),
                ("head.f1.macro", f1.macro_new, 0.0, 1.0),
                ("head.f1.macro_drop", f1.macro_drop, -1.0, 1.0),
            ]
        };
        let delta = ("head.max_delta", self.max_delta, 0.0, f64::MAX);
        std::iter::once(delta).chain(self.f1.iter().flat_map(of_f1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> MeasuredQuality {
        MeasuredQuality {
            corpus: "papers.jsonl".into(),
            texts: 3,
            cosine_min: 0.25,
            cosine_1_percent: 0.26,
            cosine_median: 0.5,
            cosine_mean: 0.5,
            max_delta: 1e-7,
            neighbour_texts: 3,
            neighbours: 2,
            neighbours_kept: 1.0,
            first_neighbour_kept: 0.0,
            provider: "cpu".into(),
            onnxruntime: "1.24.1".into(),
            cpu: "some (avx2)".into(),
        }
    }

    fn head() -> HeadQuality {
        let f1 = F1Quality {
            label: "field".into(),
            texts: 2,
            unlabelled: 1,
            unknown_labels: 0,
            micro_original: None,
            micro: Some(0.5),
            macro_original: 1.0,
            macro_new: 0.5,
            macro_drop: 0.5,
        };
        HeadQuality { name: "field.head".into(), max_delta: 0.25, answers_changed: Some(1), f1: Some(f1) }
    }

    fn compared() -> Quality {
        Quality {
            original: "fp32".into(),
            original_fingerprint: Some("ab".into()),
            measured: Some(measured()),
            heads: vec![head()],
        }
    }

    #[test]
    fn a_record_that_contradicts_itself_is_named() {
        assert_eq!(Quality::without_original().problem(), None);
        assert_eq!(compared().problem(), None);
        let field = |quality: Quality| quality.problem().unwrap().0;
        let without = Quality::without_original;
        assert_eq!(field(Quality { measured: Some(measured()), ..without() }), "quality.original");
        assert_eq!(field(Quality { heads: vec![head()], ..without() }), "quality.head");
        assert_eq!(field(Quality { measured: None, ..compared() }), "quality.original");
        assert_eq!(field(Quality { original_fingerprint: None, ..compared() }), "quality.original");
    }

    #[test]
    fn numbers_that_no_measurement_gives_are_named() {
        for value in [1.5, -1.5, f64::NAN] {
            let measured = MeasuredQuality { cosine_min: value, ..measured() };
            let (field, got, expected) = Quality { measured: Some(measured), ..compared() }.problem().unwrap();
            assert_eq!(
                (field.as_str(), got, expected.as_str()),
                ("quality.measured.cosine_min", value.to_string(), "-1 to 1")
            );
        }
        for (value, wrong) in [(-0.1, true), (0.0, false), (f64::INFINITY, true)] {
            let measured = MeasuredQuality { max_delta: value, ..measured() };
            assert_eq!(Quality { measured: Some(measured), ..compared() }.problem().is_some(), wrong, "{value}");
        }
        let f1 = F1Quality { macro_drop: -1.25, ..head().f1.unwrap() };
        let heads = vec![HeadQuality { f1: Some(f1), ..head() }];
        assert_eq!(Quality { heads, ..compared() }.problem().unwrap().0, "quality.head.f1.macro_drop");
        let heads = vec![HeadQuality { max_delta: -1.0, ..head() }];
        assert_eq!(Quality { heads, ..compared() }.problem().unwrap().0, "quality.head.max_delta");
    }
}
