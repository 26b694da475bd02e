"""Checks an int8 graph against the fp32 graph of the same checkpoint; exit 1 if anything is wrong.

    python export/oracle/check_int8.py FP32.onnx INT8.onnx [LARGEST]        # needs numpy and onnx

onnx.checker and type inference pass; no operator computes with shapes; inputs and outputs are those of the fp32 graph.
No layer multiplies by a matrix in fp32; each matrix of integers is the fp32 one to the nearest, by one scale for each
column and one for each row; no integer is farther from 0 than LARGEST (127).
"""

import sys

import numpy
import onnx
from onnx import numpy_helper

BANNED = {"Shape", "Size", "Range", "Expand", "ConstantOfShape", "NonZero"}


def port(value):
    shape = [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
    return value.name, value.type.tensor_type.elem_type, shape


def matrices(model):
    """By name of the matrix: integers and the scales of their columns."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "MatMulIntegerToFloat":
            zero = constants[node.input[5]] if len(node.input) > 5 and node.input[5] else 0
            integers = constants[node.input[1]].astype(numpy.int32) - numpy.int32(zero)
            found[node.input[1].rsplit("/", 1)[0]] = (integers, constants[node.input[3]])
    return found, constants


def check(name, weights, integers, columns):
    """There is a scale for each row by which all of its numbers are at most half a step away."""
    assert weights.shape == integers.shape, name
    weights, steps = weights.astype(numpy.float64), integers.astype(numpy.float64)
    assert not integers[weights == 0].any(), f"{name}: something out of nothing"
    with numpy.errstate(divide="ignore", invalid="ignore"):
        ends = [(steps + half) * columns / weights for half in (-0.5, 0.5)]
    lowest = numpy.where(weights == 0, -numpy.inf, numpy.minimum(*ends)).max(1)
    highest = numpy.where(weights == 0, numpy.inf, numpy.maximum(*ends)).min(1)
    assert (highest > 0).all() and (lowest <= highest * (1 + 1e-5) + 1e-9).all(), f"{name}: not the nearest integers"


def main():
    largest = int(sys.argv[3]) if len(sys.argv) > 3 else 127
    onnx.checker.check_model(sys.argv[2], full_check=True)
    full, int8 = onnx.load(sys.argv[1]), onnx.load(sys.argv[2])
    assert [port(value) for value in int8.graph.input] == [port(value) for value in full.graph.input]
    assert [port(value) for value in int8.graph.output] == [port(value) for value in full.graph.output]
    fixed = {tensor.name for tensor in int8.graph.initializer}
    for node in int8.graph.node:
        assert node.op_type not in BANNED, node.op_type
        assert node.op_type not in ("Slice", "Reshape") or set(node.input[1:]) <= fixed, f"computed {node.name}"
        is_layer = node.op_type == "MatMul" and node.name.startswith("layer.")
        assert not (is_layer and node.input[1] in fixed), f"{node.name} is fp32"
    found, _ = matrices(int8)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in full.graph.initializer}
    for name, (integers, columns) in found.items():
        assert numpy.abs(integers).max() == largest, f"{name} goes to {numpy.abs(integers).max()}"
        check(name, weights[name], integers, columns)
    assert found, "no matrix is int8"
    print(f"{len(found)} matrices of integers, each the nearest")


if __name__ == "__main__":
    main()
