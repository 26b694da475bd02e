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
    /// What a head is worth on both, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadQuality>,
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

/// A head's macro-F1 on the vectors of the original and of the new bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadQuality {
    /// The head's file name.
    pub name: String,
    /// The field with the right label.
    pub label: String,
    /// Texts that the corpus labels.
    pub texts: u64,
    /// Labels that the head doesn't know, each text counted by itself: missed on either side.
    pub unknown_labels: u64,
    /// Texts that the corpus doesn't label, which are left out.
    pub unlabelled: u64,
    /// Micro-F1 on the original, where a text may have several labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1_micro_original: Option<f64>,
    /// Micro-F1 on the new bundle, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1_micro: Option<f64>,
    /// Macro-F1 on the original, over the labels that are right or given somewhere.
    pub f1_macro_original: f64,
    /// Macro-F1 on the new bundle.
    pub f1_macro: f64,
    /// Macro-F1 on the original less that on the new bundle: above 0 where the new bundle is worse.
    pub f1_drop: f64,
    /// Texts that get another answer.
    pub answers_changed: u64,
}

impl Quality {
    /// The record of a bundle whose numbers can be compared with nothing.
    pub fn without_original() -> Self {
        Self { original: NO_ORIGINAL.to_owned(), original_fingerprint: None, measured: None, head: None }
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
        if self.head.is_some() && !compared {
            return wrong("head", "figures".to_owned(), "none, as there is no original");
        }
        let numbers = self.measured.iter().flat_map(MeasuredQuality::numbers);
        let numbers = numbers.chain(self.head.iter().flat_map(HeadQuality::numbers));
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
    fn numbers(&self) -> [Bounded; 5] {
        [
            ("head.f1_micro_original", self.f1_micro_original.unwrap_or(0.0), 0.0, 1.0),
            ("head.f1_micro", self.f1_micro.unwrap_or(0.0), 0.0, 1.0),
            ("head.f1_macro_original", self.f1_macro_original, 0.0, 1.0),
            ("head.f1_macro", self.f1_macro, 0.0, 1.0),
            ("head.f1_drop", self.f1_drop, -1.0, 1.0),
        ]
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
        HeadQuality {
            name: "field.head".into(),
            label: "field".into(),
            texts: 2,
            unknown_labels: 0,
            unlabelled: 1,
            f1_micro_original: None,
            f1_micro: Some(0.5),
            f1_macro_original: 1.0,
            f1_macro: 0.5,
            f1_drop: 0.5,
            answers_changed: 1,
        }
    }

    fn compared() -> Quality {
        Quality {
            original: "fp32".into(),
            original_fingerprint: Some("ab".into()),
            measured: Some(measured()),
            head: Some(head()),
        }
    }

    #[test]
    fn a_record_that_contradicts_itself_is_named() {
        assert_eq!(Quality::without_original().problem(), None);
        assert_eq!(compared().problem(), None);
        let field = |quality: Quality| quality.problem().unwrap().0;
        let without = Quality::without_original;
        assert_eq!(field(Quality { measured: Some(measured()), ..without() }), "quality.original");
        assert_eq!(field(Quality { head: Some(head()), ..without() }), "quality.head");
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
        let head = HeadQuality { f1_drop: -1.25, ..head() };
        assert_eq!(Quality { head: Some(head), ..compared() }.problem().unwrap().0, "quality.head.f1_drop");
    }
}
