"""Where the error and the time of an int8 encoder come from: forms of quantization against the fp32 graph.

    OFFPRINT_DATA=folder python benches/int8/study.py BUNDLE [--texts N] [--only WORD] [--out FILE]

BUNDLE is an fp32 bundle of a BERT. Ranges are taken from papers of the labelled sets, cosines from other texts of them.
Needs numpy, onnx, onnxruntime and tokenizers. A form says how the rows of a matrix's input become integers:

    row       each row by its largest number          urow     each row by its highest number, 16 integers below 0
    fixed     one range for all rows                  none     not at all

`moved` subtracts from each channel the middle of its range and divides it by range^a / weight^(1-a) first, and the
matrix takes up the difference. Weights are rounded to the nearest by one scale for each column (`nearest`), or one by
one, each error passed on to those that are left by X'X (`gptq`, Frantar et al. 2022), or left as they are (`fp32`).
`mean` lets the bias take up what rounding does to the mean.
"""

import argparse
import gzip
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

# Name of a set and how many of its texts are tried.
SETS = {
    "arxiv_cs_primary/arxiv_cs_primary": 300, "arxiv_cs_multilabel/arxiv_cs_multilabel": 250,
    "mag_paper_field_dev/mag_dev": 250, "hoc/hoc": 200, "stance_regression/stance": 200,
    "cset_arxiv_dev/cset_dev_year_and_ai": 200, "asreview_screening/asreview": 250, "scicite/scicite": 150,
    "ag_news_test7600/ag_news": 100, "trec/trec": 100}
QKV = ("query", "key", "value")
KINDS = (*QKV, "attention.output", "intermediate", "output")
MOVED = {"act": "fixed", "alpha": 0.75}
LEAST_GELU = 0.1701
REACH = 127


def text(row):
    if row.get("abstract"):
        return f"{row['title']}[SEP]{row['abstract']}" if row.get("title") else row["abstract"]
    return row.get("text") or row.get("title") or ""


def texts(data, tried, share):
    """Texts to try, or papers to take ranges from: never the same."""
    found = []
    for name, count in SETS.items():
        with gzip.open(data / f"{name}.jsonl.gz", "rt") as file:
            rows = [json.loads(line) for line in file]
        rows.sort(key=lambda row: hashlib.sha256(str(row["id"]).encode()).hexdigest())
        if tried:
            found += [text(row) for row in rows[:max(1, int(count * share))]]
        elif not name.startswith(("scicite", "ag_", "trec")):
            found += [text(row) for row in rows[2 * count:2 * count + count // 10]]
    return [one for one in found if one]


def batches(tokenizer, found, budget=1024):
    """Texts by length, in batches of so many padded tokens."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(found)]
    order = sorted(range(len(ids)), key=lambda at: -len(ids[at]))
    cut = []
    for at in order:
        if not cut or (len(cut[-1]) + 1) * len(ids[cut[-1][0]]) > budget:
            cut.append([])
        cut[-1].append(at)
    result = []
    for rows in cut:
        shape = (len(rows), len(ids[rows[0]]))
        feed = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask")}
        for place, at in enumerate(rows):
            feed["input_ids"][place, :len(ids[at])] = ids[at]
            feed["attention_mask"][place, :len(ids[at])] = 1
        result.append((rows, feed))
    return result


def session(model, threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def gptq(weights, moments, columns, damp=0.01):
    weights, moments = weights.copy(), moments.astype(np.float64)
    moments[np.diag_indices(len(moments))] += damp * np.mean(np.diag(moments))
    order = np.argsort(-np.diag(moments))
    weights, moments = weights[order], moments[np.ix_(order, order)]
    upper = np.linalg.cholesky(np.linalg.inv(moments)).T
    integers = np.zeros_like(weights)
    for start in range(0, len(weights), 64):
        end = min(start + 64, len(weights))
        errors = np.zeros((end - start, weights.shape[1]))
        for row in range(start, end):
            integers[row] = np.clip(np.round(weights[row] / columns), -REACH, REACH)
            errors[row - start] = (weights[row] - integers[row] * columns) / upper[row, row]
            weights[row:end] -= np.outer(upper[row, row:end], errors[row - start])
        weights[end:] -= upper[start:end, end:].T @ errors
    return integers[np.argsort(order)]


class Study:
    """The fp32 graph, what its matrices read, and graphs that are made of it."""

    def __init__(self, model, seen):
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        nodes = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in self.constants]
        self.matrices = {node.input[1]: numpy_helper.to_array(self.constants[node.input[1]]) for node in nodes}
        self.inputs = {node.input[1]: node.input[0] for node in nodes}
        self.norms = {node.output[0]: node for node in model.graph.node if node.op_type == "LayerNormalization"}
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        names = sorted(set(self.inputs.values()))
        watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
        running, rows = session(watched), {name: [] for name in names}
        for _, feed in seen:
            for name, values in zip(names, running.run(names, feed)):
                tokens = feed["attention_mask"].astype(bool)
                rows[name].append(values[tokens] if values.shape[:2] == tokens.shape else values.reshape(-1, values.shape[2]))
        self.rows = {name: np.concatenate(parts) for name, parts in rows.items()}

    def kind(self, matrix):
        return next((kind for kind in KINDS[:-1] if kind in matrix), "output")

    def array(self, name):
        return numpy_helper.to_array(self.constants[name]).astype(np.float64)

    def make(self, form_of):
        """The graph in which `form_of(matrix)` says how a matrix is multiplied; `None`: as it is."""
        made = onnx.ModelProto()
        made.CopyFrom(self.model)
        made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        del made.graph.node[:]
        self.nodes, self.added, self.shared = made.graph.node, {}, {}
        readers = {name: node for node in self.model.graph.node for name in node.input}
        gone = set()
        for node in self.model.graph.node:
            form = form_of(node.input[1]) if node.op_type == "MatMul" and node.input[1] in self.matrices else None
            if form:
                bias = readers[node.output[0]]
                gone.add(bias.output[0])
                self.product(node, bias, {"alpha": None, "weights": "nearest", "mean": True, "real": True, **form})
            elif node.output[0] not in gone:
                self.nodes.append(node)
        made.graph.initializer.extend(self.added.values())
        return made

    def constant(self, name, values):
        self.added.setdefault(name, numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def moved(self, value, form):
        """Shift and scale of each channel."""
        rows = self.rows[value]
        lowest, highest = rows.min(0).astype(np.float64), rows.max(0).astype(np.float64)
        if not form["alpha"]:
            return np.zeros(len(lowest)), np.ones(len(lowest))
        peaks = [np.abs(self.matrices[name]).max(1) for name, read in self.inputs.items() if read == value]
        half, peaks = np.maximum((highest - lowest) / 2, 1e-5), np.maximum(np.max(peaks, axis=0), 1e-6)
        scale = half ** form["alpha"] / peaks ** (1 - form["alpha"])
        return (lowest + highest) / 2, scale / np.exp(np.log(scale).mean())

    def quantized(self, value, form, shift, scale):
        """Integers of the rows, their step, their 0, and the scale of each row, by names."""
        tag = f"{value}#{form['act']}{form['alpha']}"
        if tag in self.shared:
            return self.shared[tag]
        read = value
        if form["alpha"]:
            norm = self.norms[value]
            gain, offset = (self.array(name) for name in norm.input[1:])
            gain = self.constant(f"{tag}g", (gain / scale).astype(np.float32))
            offset = self.constant(f"{tag}o", ((offset - shift) / scale).astype(np.float32))
            epsilon = next(a.f for a in norm.attribute if a.name == "epsilon")
            read = self.node("LayerNormalization", [norm.input[0], gain, offset], f"{tag}n", axis=-1, epsilon=epsilon)
        step, zero, by_row = 1.0, 128, None
        if form["act"] == "fixed":
            rows = (self.rows[value] - shift) / scale
            low, high = min(rows.min(), 0), max(rows.max(), 0)
            step = (high - low) / 255
            zero = int(round(-low / step))
        elif form["act"] in ("row", "urow"):
            zero, least = (128, 1e-9) if form["act"] == "row" else (16, LEAST_GELU / 16)
            size = self.node("Abs", [read], f"{tag}a") if form["act"] == "row" else read
            axis = self.constant("axis", np.array([-1]))
            highest = self.node("ReduceMax", [size, axis], f"{tag}m")
            wanted = self.node("Mul", [highest, self.constant(f"{tag}i", np.float32(1 / (255 - zero)))], f"{tag}w")
            by_row = self.node("Max", [wanted, self.constant(f"{tag}l", np.float32(least))], f"{tag}s")
            read = self.node("Div", [read, by_row], f"{tag}d")
        step, zero = self.constant(f"{tag}#s", np.float32(step)), self.constant(f"{tag}#z", np.uint8(zero))
        if form["act"] != "none":
            read = self.node("QuantizeLinear", [read, step, zero], f"{tag}q")
        self.shared[tag] = (read, step, zero, by_row)
        return self.shared[tag]

    def product(self, node, bias, form):
        value, name = node.input
        weights, result = self.matrices[name].astype(np.float64), bias.output[0]
        shift, scale = self.moved(value, form)
        added = self.array(bias.input[1]) + shift @ weights
        weights = weights * scale[:, None]
        columns = np.abs(weights).max(0) / REACH
        integers = np.clip(np.round(weights / columns), -REACH, REACH)
        if form["weights"] == "gptq":
            rows = ((self.rows[value] - shift) / scale)[::2]
            integers = gptq(weights, rows.T @ rows, columns)
        if form["weights"] != "fp32" and form["mean"]:
            added += ((self.rows[value].mean(0) - shift) / scale) @ (weights - integers * columns)
        read, step, zero, by_row = self.quantized(value, form, shift, scale)
        added = self.constant(f"{name}#b", added.astype(np.float32))
        columns = columns.astype(np.float32)
        if form["weights"] == "fp32" or form["act"] == "none":
            # What only one side costs: the other stays in fp32.
            if form["act"] != "none":
                read = self.node("DequantizeLinear", [read, step, zero], f"{name}#x")
            exact = weights if form["weights"] == "fp32" else integers * columns
            product = self.node("MatMul", [read, self.constant(f"{name}#f", exact.astype(np.float32))], f"{name}#m")
        else:
            inputs = [read, self.constant(f"{name}#q", integers.astype(np.int8)), step]
            inputs += [self.constant(f"{name}#c", columns), zero] + ([] if by_row else ["", added])
            product = f"{name}#m" if by_row else result
            self.node("MatMulIntegerToFloat", inputs, product, domain="com.microsoft")
            if not by_row:
                return
        if by_row:
            product = self.node("Mul", [product, by_row], f"{name}#n")
        self.node("Add", [product, added], result)


def variants():
    """Label and, by kind of matrix, the form."""
    for kinds, name in ((QKV, "qkv"), (("intermediate",), "in")):
        for form in ({"act": "row"}, {"act": "fixed"}, *({"act": "fixed", "alpha": a} for a in (0.5, 0.75, 1.0))):
            yield f"{name}: {form}, weights fp32", {kind: {**form, "weights": "fp32"} for kind in kinds}
    for kind, name in (("attention.output", "context"), ("output", "out")):
        for act in ("row", "fixed") + (("urow",) if kind == "output" else ()):
            yield f"{name}: {act}, weights fp32", {kind: {"act": act, "weights": "fp32"}}
    chosen = {kind: MOVED for kind in (*QKV, "intermediate")}
    chosen |= {"attention.output": {"act": "fixed"}, "output": {"act": "urow"}}
    for options in ({"mean": False}, {}, {"weights": "gptq"}):
        for kinds, name in (((*QKV, "intermediate"), "qkv and in"), (("attention.output",), "context"), (("output",), "out")):
            forms = {kind: {**chosen[kind], "act": "none", **options} for kind in kinds}
            yield f"{name}: weights alone {options or 'nearest'}", forms
    yield "all: chosen", chosen
    yield "all: chosen, gptq", {kind: {**form, "weights": "gptq"} for kind, form in chosen.items()}
    for kinds, name in ((("output",), "out"), (QKV, "qkv")):
        yield f"chosen, {name} in fp32", {kind: form for kind, form in chosen.items() if kind not in kinds}
    yield "all: row (no calibration)", {kind: {"act": "row", "mean": False} for kind in KINDS}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--texts", type=int, default=125)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = Path(os.environ["OFFPRINT_DATA"])
    tokenizer = Tokenizer.from_file(str(options.bundle / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    tried = texts(data, True, options.texts / sum(SETS.values()))
    study = Study(onnx.load(options.bundle / "model.onnx"), batches(tokenizer, texts(data, False, 1)))
    feeds = batches(tokenizer, tried)

    def run(running):
        start, vectors = time.process_time(), [None] * len(tried)
        for rows, feed in feeds:
            for at, vector in zip(rows, running.run(["sentence_embedding"], feed)[0].astype(np.float64)):
                vectors[at] = vector / np.linalg.norm(vector)
        return np.array(vectors), time.process_time() - start

    full = session(study.model)
    results = []
    for label, forms in variants():
        if options.only not in label:
            continue
        made = session(study.make(lambda matrix: forms.get(study.kind(matrix))))
        (expected, slow), (found, fast) = run(full), run(made)
        cosines = (expected * found).sum(1)
        results.append({"variant": label, "least": round(cosines.min(), 5), "mean": round(cosines.mean(), 5),
                        "speed": round(slow / fast, 2)})
        print(json.dumps(results[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps({"texts": len(tried), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
