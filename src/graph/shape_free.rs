//! For tests: whether a graph computes with shapes, which a provider would leave to another one. Knows operators by name
//! alone. Invariant: a bound of a Slice or Reshape that is no constant counts as computed.

use super::onnx::NodeProto;

/// Operators that make shapes or whose result's shape depends on values.
const BANNED: [&str; 6] = ["Shape", "Size", "Range", "Expand", "ConstantOfShape", "NonZero"];

/// Fails where one of `nodes` computes with shapes.
pub(super) fn assert_shape_free(nodes: &[NodeProto], constants: &[&str], graph: &str) {
    for node in nodes {
        let kind = node.op_type.as_deref().unwrap();
        assert!(!BANNED.contains(&kind), "{kind} in {graph}");
        let mut bounds = node.input.iter().skip(1);
        let computed = bounds.any(|bound| !constants.contains(&bound.as_str()));
        assert!(!(computed && ["Slice", "Reshape"].contains(&kind)), "computed {kind} in {graph}");
    }
}
