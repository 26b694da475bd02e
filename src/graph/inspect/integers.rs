//! The integers that foreign graphs compute shapes with: sizes taken apart, reckoned with and put together again.
//! Everything else is left unknown.

use super::super::onnx::{ElementType, NodeProto};
use super::rules::{int, ints};
use super::shapes::{Known, of_tensor, product};

/// More numbers than this are never a shape.
const MOST: u64 = 64;

/// The first output's integers, where they can be told.
pub(super) fn compute(node: &NodeProto, inputs: &[Known]) -> Option<Known> {
    if !node.is_standard() {
        return None;
    }
    let first = inputs.first();
    let list = |index: usize| inputs.get(index).and_then(|known| known.ints.as_deref());
    match node.op_type.as_deref()? {
        "Constant" => constant(node),
        "Shape" => {
            let shape = first?.shape.as_deref()?;
            let bound = |name: &str, default: i64| clamp(int(node, name).unwrap_or(default), shape.len());
            let (start, end) = (bound("start", 0), bound("end", shape.len() as i64));
            Some(flat(shape.get(start..end.max(start))?.to_vec()))
        }
        "Size" => Some(scalar(i64::try_from(first?.count()?).ok()?)),
        "Identity" => first.filter(|known| known.ints.is_some()).cloned(),
        "Cast" => cast(node, first?),
        "Unsqueeze" | "Squeeze" | "Reshape" | "Flatten" => Some(Known::of_ints(Some(list(0)?.to_vec()), None)),
        "Gather" => gather(list(0)?, inputs.get(1)?),
        "Concat" => {
            let parts: Option<Vec<&[i64]>> = inputs.iter().map(|known| known.ints.as_deref()).collect();
            let total = parts.as_ref()?.iter().map(|part| part.len() as u64).sum::<u64>();
            (total <= MOST).then(|| parts.map(|parts| flat(parts.concat())))?
        }
        "Slice" => slice(node, inputs),
        "ConstantOfShape" => {
            let count = product(list(0)?).filter(|count| *count <= MOST)?;
            let value = node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some("value"));
            let value = match value {
                Some(attribute) => *of_tensor(attribute.t.as_deref()?).ints?.first()?,
                None => return None,
            };
            Some(Known::of_ints(Some(vec![value; count as usize]), Some(list(0)?.to_vec())))
        }
        "Range" => {
            let [&[start], &[limit], &[step]] = [list(0)?, list(1)?, list(2)?] else { return None };
            let count = range_len(start, limit, step).filter(|count| *count <= MOST as i64)?;
            Some(flat((0..count).map(|index| start + index * step).collect()))
        }
        "Where" => {
            let [condition, yes, no] = [list(0)?, list(1)?, list(2)?];
            let count = condition.len().max(yes.len()).max(no.len());
            let pick = |index: usize| {
                let chosen = if *at(condition, index)? != 0 { yes } else { no };
                at(chosen, index).copied()
            };
            Some(flat((0..count).map(pick).collect::<Option<_>>()?))
        }
        "Neg" => Some(flat(list(0)?.iter().map(|value| value.checked_neg()).collect::<Option<_>>()?)),
        "Not" => Some(flat(list(0)?.iter().map(|value| i64::from(*value == 0)).collect())),
        "ReduceProd" => Some(scalar(list(0)?.iter().try_fold(1_i64, |all, value| all.checked_mul(*value))?)),
        "Mod" => {
            let c_style = int(node, "fmod").unwrap_or(0) != 0;
            pairwise(list(0)?, list(1)?, inputs, &|a, b| remainder(a, b, c_style))
        }
        operator => {
            let one = arithmetic(operator)?;
            pairwise(list(0)?, list(1)?, inputs, &one)
        }
    }
}

/// What is left of a division: with the divisor's sign, or with that of the dividend as in C.
fn remainder(dividend: i64, divisor: i64, c_style: bool) -> Option<i64> {
    if divisor == 0 {
        return None;
    }
    // The smallest number by -1 leaves nothing, though its quotient has no room.
    let rest = dividend.wrapping_rem(divisor);
    let other_sign = rest != 0 && (rest < 0) != (divisor < 0);
    Some(if other_sign && !c_style { rest + divisor } else { rest })
}

/// How many numbers a range has.
pub(super) fn range_len(start: i64, limit: i64, step: i64) -> Option<i64> {
    let distance = limit.checked_sub(start)?;
    if step == 0 {
        return None;
    }
    let whole = distance.checked_div(step)?;
    let more = i64::from(distance.checked_rem(step)? != 0 && whole >= 0 && (distance > 0) == (step > 0));
    Some((whole + more).max(0))
}

fn constant(node: &NodeProto) -> Option<Known> {
    let attribute = node.attribute.first()?;
    match attribute.name.as_deref()? {
        "value" => Some(of_tensor(attribute.t.as_deref()?)),
        "value_int" => Some(scalar(attribute.i?)),
        "value_ints" => Some(flat(attribute.ints.clone())),
        "value_float" => Some(Known::of_shape(Some(Vec::new()))),
        "value_floats" => Some(Known::of_shape(Some(vec![attribute.floats.len() as i64]))),
        _ => None,
    }
}

/// Integers stay what they are among wide integers. As anything else they are no longer followed: numbers with a fraction
/// are divided in another way, and narrow integers have no room for all.
fn cast(node: &NodeProto, from: &Known) -> Option<Known> {
    let list = from.ints.as_deref()?;
    let to = i32::try_from(int(node, "to")?).ok().and_then(ElementType::of_number)?;
    let ints: Option<Vec<i64>> = match to {
        ElementType::Int64 => Some(list.to_vec()),
        ElementType::Int32 => list.iter().map(|value| i32::try_from(*value).ok().map(i64::from)).collect(),
        ElementType::Bool => Some(list.iter().map(|value| i64::from(*value != 0)).collect()),
        _ => None,
    };
    Some(Known::of_ints(Some(ints?), from.shape.clone()))
}

fn gather(data: &[i64], indices: &Known) -> Option<Known> {
    let wanted = indices.ints.as_deref()?;
    let pick = |index: &i64| {
        let index = if *index < 0 { index.checked_add(data.len() as i64)? } else { *index };
        data.get(usize::try_from(index).ok()?).copied()
    };
    let picked = wanted.iter().map(pick).collect::<Option<Vec<_>>>()?;
    Some(Known::of_ints(Some(picked), indices.shape.clone()))
}

fn slice(node: &NodeProto, inputs: &[Known]) -> Option<Known> {
    let data = inputs.first()?.ints.as_deref()?;
    let bound = |index: usize, name: &str| match inputs.get(index) {
        Some(known) => known.ints.as_deref()?.first().copied(),
        None => ints(node, name)?.first().copied(),
    };
    let (start, end) = (bound(1, "starts")?, bound(2, "ends")?);
    let step = inputs.get(4).map_or(Some(1), |known| known.ints.as_deref()?.first().copied())?;
    (step == 1).then_some(())?;
    let (start, end) = (clamp(start, data.len()), clamp(end, data.len()));
    Some(flat(data.get(start..end.max(start))?.to_vec()))
}

/// An operator on two integers; where it has no result, or one without room, that is unknown.
fn arithmetic(operator: &str) -> Option<fn(i64, i64) -> Option<i64>> {
    Some(match operator {
        "Add" => i64::checked_add,
        "Sub" => i64::checked_sub,
        "Mul" => i64::checked_mul,
        // ONNX rounds towards zero, as Rust does.
        "Div" => i64::checked_div,
        "Min" => |a, b| Some(a.min(b)),
        "Max" => |a, b| Some(a.max(b)),
        "Equal" => |a, b| Some((a == b).into()),
        "Greater" => |a, b| Some((a > b).into()),
        "Less" => |a, b| Some((a < b).into()),
        "GreaterOrEqual" => |a, b| Some((a >= b).into()),
        "LessOrEqual" => |a, b| Some((a <= b).into()),
        "And" => |a, b| Some((a != 0 && b != 0).into()),
        "Or" => |a, b| Some((a != 0 || b != 0).into()),
        _ => return None,
    })
}

/// Two lists, number by number.
fn pairwise(left: &[i64], right: &[i64], inputs: &[Known], one: &dyn Fn(i64, i64) -> Option<i64>) -> Option<Known> {
    (inputs.len() == 2).then_some(())?;
    let count = left.len().max(right.len());
    let values = (0..count).map(|index| one(*at(left, index)?, *at(right, index)?)).collect::<Option<Vec<_>>>()?;
    let scalars = inputs.iter().all(|known| known.shape.as_deref() == Some(&[]));
    Some(Known::of_ints(Some(values), Some(if scalars { Vec::new() } else { vec![count as i64] })))
}

/// An element of a list; a list of one stands for any place.
fn at(list: &[i64], index: usize) -> Option<&i64> {
    if list.len() == 1 { list.first() } else { list.get(index) }
}

/// A bound of a list of that length, counted from the end if it is negative.
fn clamp(bound: i64, length: usize) -> usize {
    let from_start = if bound < 0 { bound.saturating_add(length as i64).max(0) } else { bound };
    usize::try_from(from_start).unwrap_or(usize::MAX).min(length)
}

fn flat(values: Vec<i64>) -> Known {
    let shape = vec![values.len() as i64];
    Known::of_ints(Some(values), Some(shape))
}

fn scalar(value: i64) -> Known {
    Known::of_ints(Some(vec![value]), Some(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::{compute, range_len};
    use crate::graph::inspect::shapes::Known;
    use crate::graph::onnx::{AttributeProto, ElementType, NodeProto};

    /// What an operator makes of lists of integers.
    fn computed(operator: &str, lists: &[&[i64]], attribute: Option<(&str, i64)>) -> Option<Vec<i64>> {
        let known = |list: &&[i64]| Known::of_ints(Some(list.to_vec()), Some(vec![list.len() as i64]));
        let node = NodeProto {
            op_type: Some(operator.to_owned()),
            attribute: attribute.iter().map(|(name, value)| AttributeProto::int(name, *value)).collect(),
            ..NodeProto::default()
        };
        compute(&node, &lists.iter().map(known).collect::<Vec<_>>())?.ints
    }

    /// The values are those of onnxruntime 1.31.1 for int64, to which a division by zero is an error; only the smallest
    /// number by -1 is not its: that ends its process, but for `fmod`.
    #[test]
    fn divisions_follow_the_standard_whatever_the_signs() {
        let (left, right) = ([7, -7, 7, -7, 6, -6, 0, i64::MIN], [3, 3, -3, -3, 3, -3, -3, -1]);
        let of = |operator, fmod| computed(operator, &[&left, &right], fmod);
        assert_eq!(of("Mod", None), Some(vec![1, 2, -2, -1, 0, 0, 0, 0]));
        assert_eq!(of("Mod", Some(("fmod", 0))), of("Mod", None));
        assert_eq!(of("Mod", Some(("fmod", 1))), Some(vec![1, -1, 1, -1, 0, 0, 0, 0]));
        let quotients = computed("Div", &[&left[..7], &right[..7]], None);
        assert_eq!(quotients, Some(vec![2, -2, -2, 2, 2, 2, 0]));
        assert_eq!(of("Div", None), None, "the last quotient has no room");
        for (operator, fmod) in [("Div", None), ("Mod", None), ("Mod", Some(("fmod", 1)))] {
            assert_eq!(computed(operator, &[&[5], &[0]], fmod), None, "{operator}");
        }
    }

    /// What was an integer divides with a fraction once it is a float.
    #[test]
    fn integers_are_followed_through_wide_integers_alone() {
        let cast = |list: &[i64], to: ElementType| computed("Cast", &[list], Some(("to", to as i64)));
        assert_eq!(cast(&[-3, 0, 5], ElementType::Int64), Some(vec![-3, 0, 5]));
        assert_eq!(cast(&[-3, 0, 5], ElementType::Int32), Some(vec![-3, 0, 5]));
        assert_eq!(cast(&[1 << 40], ElementType::Int32), None);
        assert_eq!(cast(&[-3, 0, 5], ElementType::Bool), Some(vec![1, 0, 1]));
        assert_eq!(cast(&[3], ElementType::Float), None);
        assert_eq!(cast(&[300], ElementType::Uint8), None);
    }

    #[test]
    fn ranges_are_counted_as_they_are_written() {
        for ((start, limit, step), count) in
            [((0, 5, 1), 5), ((0, 5, 2), 3), ((5, 0, -2), 3), ((5, 0, 1), 0), ((0, -3, 2), 0), ((2, 2, 1), 0)]
        {
            assert_eq!(range_len(start, limit, step), Some(count), "{start} {limit} {step}");
        }
        assert_eq!((range_len(0, 3, 0), range_len(i64::MIN, i64::MAX, 1)), (None, None));
    }
}
