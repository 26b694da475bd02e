"""Checks the graph of an fp16 bundle against that of the fp32 bundle of the same checkpoint; exit 1 if anything is wrong.

    python export/oracle/check_half.py FP32_BUNDLE FP16_BUNDLE        # needs numpy and onnx

onnx.checker and strict type inference pass; no operator computes with shapes; inputs and outputs are those of the fp32
graph; each constant in half precision is the fp32 one as numpy rounds it, bit by bit, and all others are equal; without
the casts both graphs have the same nodes.
"""

import collections
import sys
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, numpy_helper

BANNED = {"Shape", "Size", "Range", "Expand", "ConstantOfShape", "NonZero"}


def constants(model):
    return {tensor.name: (tensor.data_type, numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}


def port(value):
    shape = [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
    return value.name, value.type.tensor_type.elem_type, shape


def kinds(model, but=()):
    return collections.Counter(node.op_type for node in model.graph.node if node.op_type not in but)


def main():
    full, half = (Path(folder) / "model.onnx" for folder in sys.argv[1:3])
    onnx.checker.check_model(str(half), full_check=True)
    full, half = onnx.load(full), onnx.load(half)
    onnx.shape_inference.infer_shapes(half, check_type=True, strict_mode=True, data_prop=True)
    assert [port(value) for value in half.graph.input] == [port(value) for value in full.graph.input]
    assert [port(value) for value in half.graph.output] == [port(value) for value in full.graph.output]
    assert not BANNED & set(kinds(half)), kinds(half)
    fixed = {tensor.name for tensor in half.graph.initializer}
    for node in half.graph.node:
        if node.op_type in ("Slice", "Reshape"):
            assert set(node.input[1:]) <= fixed, f"computed {node.op_type} {node.name}"
    assert kinds(half, ["Cast"]) == kinds(full, ["Cast"])
    expected, got = constants(full), constants(half)
    assert list(expected) == list(got), set(expected) ^ set(got)
    rounded = 0
    for name, (kind, values) in got.items():
        want_kind, want = expected[name]
        if kind == TensorProto.FLOAT16:
            assert want_kind == TensorProto.FLOAT, name
            want, rounded = want.astype(numpy.float16), rounded + 1
        else:
            assert kind == want_kind, name
        assert values.dtype == want.dtype and values.tobytes() == want.tobytes(), f"{name} differs"
    assert rounded, "no constant is in half precision"
    layers = {node.name.split("/")[0] for node in half.graph.node if node.name.startswith("layer.")}
    added = kinds(half)["Cast"] - kinds(full)["Cast"]
    print(f"{rounded} constants rounded as numpy does, {len(got) - rounded} equal, {added} casts for {len(layers)} layers")


if __name__ == "__main__":
    main()
