//! `[int8]` in `bundle.toml`: which products an int8 graph computes in integers, how that was chosen, and what other
//! choices would have given. Owns the figures and what they may be; measures and chooses nothing. Invariant: the point
//! that the graph is stands on the curve.

use serde::{Deserialize, Serialize};

use super::HeadQuality;

/// How an int8 graph came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Int8 {
    /// The point of the curve that the graph is.
    pub point: String,
    /// How far the integers of weights go: `full` (-127 to 127), which processors without VNNI would add up with
    /// saturation, or `half` (-63 to 63), which none does.
    pub weights: String,
    /// What kept sums of products from saturating on the processor below: `processor`, which adds them exactly, or `u8`:
    /// ONNX Runtime turned the weights to u8 as it opened the graph, which is slower.
    pub sums: String,
    /// Texts behind the graph's ranges and behind the figures below.
    pub calibration: Calibration,
    /// Execution provider that everything here was measured on.
    pub provider: String,
    /// Version of ONNX Runtime.
    pub onnxruntime: String,
    /// Processor and its instruction sets.
    pub cpu: String,
    /// The points that were measured, `[[int8.curve]]`, from the fewest products in int8 to the most.
    pub curve: Vec<Int8Point>,
    /// The groups of matrices that share an input, `[[int8.group]]`, in the order in which they are turned to int8: the
    /// first ones cost the least for the time that they save.
    #[serde(rename = "group")]
    pub groups: Vec<Int8Group>,
}

/// The texts of a calibration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// What the texts are called: files of the corpus, or `built-in texts`.
    pub corpus: String,
    /// BLAKE3 over the texts of the sample.
    pub hash: String,
    /// Texts that ranges were taken from.
    pub texts: u64,
    /// Other texts of the sample, which all figures come from.
    pub held_out: u64,
}

/// A choice of groups with what it gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Int8Point {
    /// What it can be asked for by; none where it only lies between others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// So many groups are int8: the first ones of the list.
    pub groups: u64,
    /// Share of the multiplications with weights that are int8, 0 to 1.
    pub share: f64,
    /// Least cosine with the fp32 vector of a held-out text.
    pub cosine_min: f64,
    /// Mean of these cosines.
    pub cosine_mean: f64,
    /// Papers a second as a multiple of those of the fp32 graph: from text to vector, by processor time, the two run in
    /// turns.
    pub speed: f64,
    /// What a head that was given loses on the held-out texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadQuality>,
}

/// Matrices that share an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Int8Group {
    /// The matrices, by the names of their tensors.
    pub matrices: Vec<String>,
    /// `int8` or `fp32`.
    pub precision: String,
    /// Share of all multiplications with weights, 0 to 1.
    pub share: f64,
    /// Least cosine with the fp32 vector of a held-out text where this group alone is int8.
    pub cosine_min: f64,
    /// Mean of these cosines.
    pub cosine_mean: f64,
}

impl Int8 {
    /// The point that the graph is.
    pub fn chosen(&self) -> Option<&Int8Point> {
        self.curve.iter().find(|point| point.names.contains(&self.point))
    }

    /// What is wrong with the record: field, got, expected.
    pub(super) fn problem(&self) -> Option<(String, String, String)> {
        let wrong = |field: &str, got: String, expected: String| Some((format!("int8.{field}"), got, expected));
        let Some(chosen) = self.chosen() else {
            let names: Vec<&str> = self.curve.iter().flat_map(|point| &point.names).map(String::as_str).collect();
            return wrong("point", format!("`{}`", self.point), format!("a point of the curve ({})", names.join(", ")));
        };
        let int8 = self.groups.iter().take_while(|group| group.precision == INT8).count() as u64;
        if int8 != chosen.groups || self.groups.iter().skip(int8 as usize).any(|group| group.precision == INT8) {
            let expected = format!("`{INT8}` for the first {} groups and for no other", chosen.groups);
            return wrong("group.precision", format!("`{INT8}` for the first {int8}"), expected);
        }
        let of_point = |point: &Int8Point| {
            [
                ("curve.share", point.share, 0.0, 1.0),
                ("curve.cosine_min", point.cosine_min, -1.0, 1.0),
                ("curve.cosine_mean", point.cosine_mean, -1.0, 1.0),
                ("curve.speed", point.speed, 0.0, f64::MAX),
            ]
        };
        let of_group = |group: &Int8Group| {
            [
                ("group.share", group.share, 0.0, 1.0),
                ("group.cosine_min", group.cosine_min, -1.0, 1.0),
                ("group.cosine_mean", group.cosine_mean, -1.0, 1.0),
            ]
        };
        let numbers = self.curve.iter().flat_map(of_point).chain(self.groups.iter().flat_map(of_group));
        let mut outside = numbers.filter(|(_, value, least, most)| !(least..=most).contains(&value));
        let (field, value, least, most) = outside.next()?;
        wrong(field, value.to_string(), format!("{least} to {most}"))
    }
}

/// The word for a group that is computed in integers.
const INT8: &str = "int8";

#[cfg(test)]
mod tests {
    use super::*;

    fn point(names: &[&str], groups: u64) -> Int8Point {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Int8Point { names, groups, share: 0.5, cosine_min: 0.998, cosine_mean: 0.999, speed: 1.3, head: None }
    }

    fn group(precision: &str) -> Int8Group {
        let matrices = vec!["layer.0.query.weight".to_owned()];
        Int8Group { matrices, precision: precision.to_owned(), share: 0.1, cosine_min: 0.999, cosine_mean: 0.9995 }
    }

    fn record() -> Int8 {
        Int8 {
            point: "default".into(),
            weights: "full".into(),
            sums: "processor".into(),
            calibration: Calibration { corpus: "papers.jsonl".into(), hash: "ab".into(), texts: 3, held_out: 6 },
            provider: "cpu".into(),
            onnxruntime: "1.31.1".into(),
            cpu: "some (avx2)".into(),
            curve: vec![point(&[], 1), point(&["careful", "default"], 2), point(&["all"], 3)],
            groups: vec![group("int8"), group("int8"), group("fp32")],
        }
    }

    #[test]
    fn a_record_that_contradicts_itself_is_named() {
        assert_eq!(record().problem(), None);
        assert_eq!(record().chosen().unwrap().groups, 2);
        let (field, got, expected) = Int8 { point: "slow".into(), ..record() }.problem().unwrap();
        assert_eq!((field.as_str(), got.as_str()), ("int8.point", "`slow`"));
        assert_eq!(expected, "a point of the curve (careful, default, all)");
        for groups in [
            vec![group("int8"), group("fp32"), group("fp32")],
            vec![group("fp32"), group("int8"), group("int8")],
            vec![group("int8"), group("int8"), group("int8")],
        ] {
            let (field, _, expected) = Int8 { groups, ..record() }.problem().unwrap();
            assert_eq!(
                (field.as_str(), expected.as_str()),
                ("int8.group.precision", "`int8` for the first 2 groups and for no other")
            );
        }
    }

    #[test]
    fn numbers_that_no_measurement_gives_are_named() {
        let mut worse = record();
        worse.curve[0].cosine_min = 1.5;
        let (field, got, expected) = worse.problem().unwrap();
        assert_eq!((field.as_str(), got.as_str(), expected.as_str()), ("int8.curve.cosine_min", "1.5", "-1 to 1"));
        let mut slow = record();
        slow.curve[2].speed = f64::NAN;
        assert_eq!(slow.problem().unwrap().0, "int8.curve.speed");
        let mut share = record();
        share.groups[2].share = -0.1;
        assert_eq!(share.problem().unwrap().0, "int8.group.share");
    }

    #[test]
    fn it_goes_through_toml_and_back() {
        let text = toml::to_string(&record()).unwrap();
        assert_eq!(toml::from_str::<Int8>(&text).unwrap(), record());
    }
}
