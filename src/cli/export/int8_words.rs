//! What is said of an int8 graph: the curve that its point was chosen on, and which layers are int8. Owns the words of
//! `export` and `inspect` for it; decides nothing.

use offprint::model::{Int8, Int8Group, Int8Point};

use super::super::check::cosine;
use super::super::say::remark;

/// Says it where a bundle was made.
pub(super) fn tell(int8: &Int8) {
    lines(int8).iter().for_each(|line| remark(line));
    if int8.chosen().is_some_and(|point| point.speed <= 1.0) {
        remark("warning: on this machine the int8 graph is no faster than the fp32 one");
    }
}

/// Calibration, curve and choice, a line each.
pub(crate) fn lines(int8: &Int8) -> Vec<String> {
    let calibration = &int8.calibration;
    let mut lines = vec![format!(
        "int8: ranges from {} texts ({}), figures from {} others; ONNX Runtime {}, {}, {}",
        calibration.texts, calibration.corpus, calibration.held_out, int8.onnxruntime, int8.provider, int8.cpu
    )];
    let sums = match int8.sums.as_str() {
        "u8" => "without VNNI ONNX Runtime turns the weights to u8, so that no sum saturates; slower than with it",
        _ => "the processor adds products without saturation",
    };
    lines.push(format!("  integers of weights: {}; {sums}", int8.weights));
    lines.extend(int8.curve.iter().map(|point| of_point(point, &int8.point)));
    let kept: Vec<String> = int8.groups.iter().filter(|group| group.precision != "int8").map(of_group).collect();
    if !kept.is_empty() && int8.chosen().is_some() {
        lines.push(format!("  stays fp32: {}", kept.join(", ")));
    }
    lines
}

fn of_point(point: &Int8Point, chosen: &str) -> String {
    let mark = if point.names.iter().any(|name| name == chosen) { "*" } else { " " };
    let names = if point.names.is_empty() { "-".to_owned() } else { point.names.join(", ") };
    let f1 = point
        .head
        .as_ref()
        .and_then(|head| head.f1.as_ref())
        .map_or_else(String::new, |f1| format!(", macro-F1 {:.4} (fp32 {:.4})", f1.macro_new, f1.macro_original));
    format!(
        "{mark} {names}: {:.0} % of the products int8, {:.2} x the papers/s of fp32, cosine least {}, mean {}{f1}",
        point.share * 100.0,
        point.speed,
        cosine(point.cosine_min),
        cosine(point.cosine_mean),
    )
}

/// A group by the names of its matrices, what they have in common said once.
pub(crate) fn of_group(group: &Int8Group) -> String {
    let names: Vec<&str> = group.matrices.iter().map(|name| name.strip_suffix(".weight").unwrap_or(name)).collect();
    let [first, others @ ..] = names.as_slice() else { return String::new() };
    let shared = others.iter().fold(first.len(), |shared, name| {
        first.bytes().zip(name.bytes()).take(shared).take_while(|(a, b)| a == b).count()
    });
    // Only whole parts of a name are shared.
    let shared = first.as_bytes()[..shared].iter().rposition(|byte| *byte == b'.').map_or(0, |point| point + 1);
    match others {
        [] => (*first).to_owned(),
        _ => format!(
            "{}{{{}}}",
            &first[..shared],
            names.iter().map(|name| &name[shared..]).collect::<Vec<_>>().join(",")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_says_what_its_matrices_share_once() {
        let named = |names: &[&str]| {
            let matrices = names.iter().map(|name| (*name).to_owned()).collect();
            of_group(&Int8Group { matrices, precision: "int8".into(), share: 0.1, cosine_min: 1.0, cosine_mean: 1.0 })
        };
        assert_eq!(named(&["layer.0.output.dense.weight"]), "layer.0.output.dense");
        let query_key = ["layer.0.attention.self.query.weight", "layer.0.attention.self.key.weight"];
        assert_eq!(named(&query_key), "layer.0.attention.self.{query,key}");
        assert_eq!(named(&["a.weight", "ab.weight"]), "{a,ab}");
        assert_eq!(named(&["é.a.weight", "è.a.weight"]), "{é.a,è.a}");
        assert_eq!(named(&[]), "");
    }
}
