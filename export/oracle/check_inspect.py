"""Compares what `offprint inspect` says of ONNX files with an independent count by the onnx package.

    python export/oracle/check_inspect.py --offprint target/release/offprint FILE.onnx|BUNDLE ...

For each file: free sizes of the inputs are set to one text of each length, onnx's own shape inference (with data
propagation) gives the shapes of all values, and the products are counted from them: 2 * rows * inner * columns of every
MatMul and Gemm, 2 * result * window of every Conv. Parameters are the numbers of all float and 8-bit initializers that
have dimensions. Both must be equal to the digit, and what the program's law says of each length to the count; where onnx loses the shapes on its way, parameters alone are compared. Needs onnx and numpy.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys

import onnx
from onnx import TensorProto, shape_inference

WEIGHTS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.UINT8}


def parameters(graph):
    inline = [attribute.t for node in graph.node for attribute in node.attribute if attribute.type == onnx.AttributeProto.TENSOR]
    return sum(math.prod(tensor.dims) for tensor in [*graph.initializer, *inline] if tensor.data_type in WEIGHTS and tensor.dims)


def shapes_for(model, length):
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for port in model.graph.input:
        for place, dimension in enumerate(port.type.tensor_type.shape.dim):
            if not dimension.HasField("dim_value"):
                dimension.dim_value = 1 if place == 0 else length
    del model.graph.value_info[:]
    for port in model.graph.output:
        port.type.tensor_type.ClearField("shape")
    model = shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
    found = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for port in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        dimensions = port.type.tensor_type.shape.dim
        if port.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dimensions):
            found[port.name] = [d.dim_value for d in dimensions]
    return model, found


def texts_in_a_run(graph):
    """How many texts a run has, where that is fixed; the program counts for one."""
    return graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1


def flops(model, length):
    texts = texts_in_a_run(model.graph)
    model, shapes = shapes_for(model, length)
    total, unknown = 0, 0
    for node in model.graph.node:
        if node.op_type not in ("MatMul", "Gemm", "Conv"):
            continue
        out, left, right = (shapes.get(name) for name in (node.output[0], node.input[0], node.input[1]))
        if out is None or left is None or right is None:
            unknown += 1
            continue
        if node.op_type == "Conv":
            total += 2 * math.prod(out) * math.prod(right[1:])
            continue
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        total += 2 * math.prod(out) * (left[-2] if turned else left[-1])
    return total // texts, unknown


def check(offprint, path):
    said = json.loads(subprocess.run([offprint, "inspect", path, "--json"], capture_output=True, check=True).stdout)["graph"]
    file = path / "model.onnx" if path.is_dir() else path
    model = onnx.load(file)
    passed, partly = said["parameters"] == parameters(model.graph), False
    lines = [f"parameters {said['parameters']}, onnx {parameters(model.graph)}"]
    for at in said["cost"]["lengths"]:
        expected, unknown = flops(model, at["length"] or 1)
        listed = sum(entry["count"] for entry in said["cost"]["not_counted"])
        lines.append(f"{at['length']}: {at['total']} FLOPs ({listed} nodes not counted), onnx {expected} ({unknown} not known)")
        partly |= unknown > 0
        law = said["cost"].get("law")
        if law:
            n = at["length"]
            told = law["linear_per_text"] + law["attention_per_text"] + (law["linear_per_token"] + law["attention_per_token"]) * n
            passed &= unknown > 0 or told + law["attention_per_pair"] * n * n == expected
        passed &= unknown > 0 or at["total"] == expected
    print(f"{path}: {('parameters alone compared' if partly else 'passed') if passed else 'FAILED'}\n  " + "\n  ".join(lines))
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offprint", default="target/release/offprint")
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    passed = [check(arguments.offprint, path) for path in arguments.paths]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
