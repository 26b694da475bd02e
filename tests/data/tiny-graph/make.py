"""Writes the tiny graphs beside this file: each is a lookup table with masked mean pooling, and broken variants of it.

    python tests/data/tiny-graph/make.py        # needs numpy and onnx

encoder.onnx    table[id, d] = id + d / 4 (32 ids, 4 values), embedding = mean over the tokens of a text, summed in
                double precision; a text of ids a, b, c gives (a + b + c) / 3 + d / 4
log.onnx        the same, then the logarithm: a text of ids that are 0 alone gives -inf in column 0
no_mask.onnx    takes `input_ids` alone
free_dim.onnx   gives embeddings as long as the text: ids times mask
two_rows.onnx   gives twice as many rows as it was asked for
bf16.onnx       multiplies token vectors with a bfloat16 matrix, for which the CPU provider has no kernel

Two that take the ids of tests/data/tiny-bert (random table, 128 ids, 24 values) and break the promise that a vector
depends on its text alone:

per_tensor.onnx token vectors go through 8 bits at one scale for the whole batch, as dynamic quantisation does it
sum32.onnx      the mean is summed in single precision, in an order that depends on the shape of the batch
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent
IDS, DIM = 32, 4


TABLE = (np.arange(IDS)[:, None] + np.arange(DIM)[None, :] / 4).astype(np.float32)
RANDOM = np.random.default_rng(3).standard_normal((128, 24)).astype(np.float32)


def write(name, nodes, inputs=("input_ids", "attention_mask"), dim=DIM, constants=(), table=TABLE):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(x, TensorProto.INT64, ["batch", "sequence"]) for x in inputs],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["rows", dim])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axis"), *constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, FOLDER / name)


def mean(output, tokens="tokens", kind=TensorProto.DOUBLE):
    return [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", [tokens], ["wide"], to=kind),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=kind),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["wide", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axis"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("Cast", ["mean"], [output], to=TensorProto.FLOAT),
    ]


last = numpy_helper.from_array(np.array([2]), "last")
write("encoder.onnx", mean("sentence_embedding"), constants=[last])
write("log.onnx", [*mean("mean32"), helper.make_node("Log", ["mean32"], ["sentence_embedding"])], constants=[last])
write(
    "no_mask.onnx",
    [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("ReduceMean", ["tokens"], ["sentence_embedding"], axes=[1], keepdims=0),
    ],
    inputs=["input_ids"],
)
write(
    "free_dim.onnx",
    [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("Cast", ["kept"], ["sentence_embedding"], to=TensorProto.FLOAT),
    ],
    dim="sequence",
)
write(
    "two_rows.onnx",
    [*mean("once"), helper.make_node("Concat", ["once", "once"], ["sentence_embedding"], axis=0)],
    constants=[last],
)
quantised = mean("sentence_embedding", tokens="coarse")
quantised[1:1] = [
    helper.make_node("DynamicQuantizeLinear", ["tokens"], ["bytes", "scale", "zero"]),
    helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["coarse"]),
]
write("per_tensor.onnx", quantised, dim=24, constants=[last], table=RANDOM)
write("sum32.onnx", mean("sentence_embedding", kind=TensorProto.FLOAT), dim=24, constants=[last], table=RANDOM)
matrix = helper.make_tensor("matrix", TensorProto.BFLOAT16, [DIM, DIM], np.eye(DIM).flatten())
brain = mean("sentence_embedding", tokens="product")
brain[1:1] = [
    helper.make_node("Cast", ["tokens"], ["brain"], to=TensorProto.BFLOAT16),
    helper.make_node("MatMul", ["brain", "matrix"], ["brain_product"]),
    helper.make_node("Cast", ["brain_product"], ["product"], to=TensorProto.FLOAT),
]
write("bf16.onnx", brain, constants=[last, matrix])
