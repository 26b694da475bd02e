"""What the shape of a graph costs or saves: our graph of a BERT against variants of it that are made here, interleaved.

    python benches/graph_variants.py --mean BUNDLE [--cls BUNDLE] [--plain BUNDLE] [--repeats N] [--out FILE]

`--mean` and `--cls` are bundles of one checkpoint, exported with that pooling and `--no-normalize`; `--plain` is like
`--mean`, exported with `--plain`. Needs numpy, onnx and onnxruntime. Variants of the graph with mean pooling:

    qkv_split     queries, keys and values by one product, split behind it
    qkv_heads     the same, split after the heads were set apart
    f64_pooling   the mean summed by ReduceSum in f64
    uncut         the first token's state, all rows computed in the last layer (against the graph with CLS pooling)

For each shape of a batch all graphs run in turns, in alternating order; medians of wall time and of the CPU time of
all threads. The load of the machine at the start and at the end is noted: above the number of cores, CPU time counts.
"""

import argparse
import json
import os
import platform
import re
import statistics
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SHAPES = [(4, 256), (32, 64), (1, 64)]
THREADS = 2
OUTPUT = "sentence_embedding"


class Graph:
    """A graph about to be changed: who makes a value, who reads it, and the constants by name."""

    def __init__(self, path):
        self.model = onnx.load(path)
        self.nodes = list(self.model.graph.node)
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}

    def reader(self, value):
        return next(node for node in self.nodes if value in node.input)

    def constant(self, name, values):
        self.constants[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def replace(self, old, new):
        """Puts new nodes in the place of the first of the old ones."""
        at = min(self.nodes.index(node) for node in old)
        before = [node for node in self.nodes[:at] if node not in old]
        self.nodes = before + new + [node for node in self.nodes[at:] if node not in old]

    def bytes(self):
        used = {name for node in self.nodes for name in node.input}
        del self.model.graph.node[:], self.model.graph.initializer[:]
        self.model.graph.node.extend(self.nodes)
        self.model.graph.initializer.extend(tensor for name, tensor in self.constants.items() if name in used)
        onnx.checker.check_model(self.model, full_check=True)
        return self.model.SerializeToString()


def qkv(path, heads, apart):
    graph = Graph(path)
    names = sorted({re.sub(r"query\.weight$", "", name) for name in graph.constants if name.endswith("attention.self.query.weight")})
    for number, name in enumerate(names):
        kinds = ["query", "key", "value"]
        products = [graph.reader(f"{name}{kind}.weight") for kind in kinds]
        sums = [graph.reader(product.output[0]) for product in products]
        stored = lambda ending: [numpy_helper.to_array(graph.constants[f"{name}{kind}.{ending}"]) for kind in kinds]
        weight = graph.constant(f"qkv.{number}.weight", np.concatenate(stored("weight"), axis=1))
        bias = graph.constant(f"qkv.{number}.bias", np.concatenate(stored("bias")))
        hidden = stored("weight")[0].shape[0]
        new = [
            helper.make_node("MatMul", [products[0].input[0], weight], [f"qkv.{number}/MatMul"]),
            helper.make_node("Add", [f"qkv.{number}/MatMul", bias], [f"qkv.{number}/Add"]),
        ]
        if not apart:
            sizes = graph.constant(f"qkv.{number}.sizes", [hidden] * 3)
            new.append(helper.make_node("Split", [f"qkv.{number}/Add", sizes], [node.output[0] for node in sums], axis=-1))
            graph.replace(products + sums, new)
            continue
        shapes = [graph.reader(node.output[0]) for node in sums]
        turns = [graph.reader(node.output[0]) for node in shapes]
        shape = graph.constant(f"qkv.{number}.shape", [0, 0, 3 * heads, hidden // heads])
        sizes = graph.constant(f"qkv.{number}.sizes", [heads] * 3)
        key = f"qkv.{number}/key"
        new += [
            helper.make_node("Reshape", [f"qkv.{number}/Add", shape], [f"qkv.{number}/Reshape"]),
            helper.make_node("Transpose", [f"qkv.{number}/Reshape"], [f"qkv.{number}/Transpose"], perm=[0, 2, 1, 3]),
            helper.make_node("Split", [f"qkv.{number}/Transpose", sizes], [turns[0].output[0], key, turns[2].output[0]], axis=1),
            helper.make_node("Transpose", [key], [turns[1].output[0]], perm=[0, 1, 3, 2]),
        ]
        graph.replace(products + sums + shapes + turns, new)
    return graph.bytes()


def pooled_by(path, nodes):
    """The graph with other nodes in the place of its pooling; they read `states`, the mask and constants 0, 1 and 2."""
    graph = Graph(path)
    old = [node for node in graph.nodes if node.name.startswith("pooling/")]
    states = next(node for node in old if node.op_type == "Transpose").input[0]
    for name, value in [("zero", np.array(0)), ("one", np.array([1])), ("two", np.array([2]))]:
        graph.constant(name, value)
    new = [helper.make_node(kind, [states if x == "states" else x for x in inputs], [output], **more) for kind, inputs, output, more in nodes]
    graph.replace(old, new)
    return graph.bytes()


F64_POOLING = [
    ("Cast", ["attention_mask"], "p.mask", {"to": TensorProto.FLOAT}),
    ("Unsqueeze", ["p.mask", "two"], "p.column", {}),
    ("Mul", ["states", "p.column"], "p.kept", {}),
    ("Cast", ["p.kept"], "p.wide", {"to": TensorProto.DOUBLE}),
    ("ReduceSum", ["p.wide", "one"], "p.sum", {"keepdims": 0}),
    ("Cast", ["p.mask"], "p.wide_mask", {"to": TensorProto.DOUBLE}),
    ("ReduceSum", ["p.wide_mask", "one"], "p.count", {"keepdims": 1}),
    ("Div", ["p.sum", "p.count"], "p.mean", {}),
    ("Cast", ["p.mean"], OUTPUT, {"to": TensorProto.FLOAT}),
]
UNCUT = [("Gather", ["states", "zero"], OUTPUT, {"axis": 1})]


def session(graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def batch(rows, columns):
    """Texts of half the length to the full one."""
    random = np.random.default_rng(rows)
    mask = np.ones((rows, columns), np.int64)
    for row in range(1, rows):
        mask[row, random.integers(columns // 2, columns + 1) :] = 0
    return {"input_ids": random.integers(1000, 20000, (rows, columns)) * mask, "attention_mask": mask}


def measure(graphs, shape, repeats):
    """The medians of each graph, against the first."""
    sessions = {name: session(graph) for name, graph in graphs.items()}
    inputs = batch(*shape)
    vectors = {name: one.run([OUTPUT], inputs)[0] for name, one in sessions.items()}
    walls, cpus = {name: [] for name in graphs}, {name: [] for name in graphs}
    for repeat in range(repeats):
        for name in list(sessions) if repeat % 2 else reversed(sessions):
            wall, cpu = time.perf_counter(), time.process_time()
            sessions[name].run([OUTPUT], inputs)
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    first = next(iter(graphs))
    rows = []
    for name in graphs:
        wall, cpu = statistics.median(walls[name]), statistics.median(cpus[name])
        rows.append({
            "graph": name,
            "wall_ms": round(wall * 1e3, 2),
            "wall_change": round(wall / statistics.median(walls[first]) - 1, 4),
            "least_wall_ms": round(min(walls[name]) * 1e3, 2),
            "cpu_ms": round(cpu * 1e3, 2),
            "cpu_change": round(cpu / statistics.median(cpus[first]) - 1, 4),
            "max_delta": float(np.abs(vectors[name] - vectors[first]).max()),
        })
    return {"rows": shape[0], "columns": shape[1], "repeats": repeats, "graphs": rows}


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mean", type=Path, required=True)
    parser.add_argument("--cls", type=Path)
    parser.add_argument("--plain", type=Path)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    mean = arguments.mean / "model.onnx"
    sets = {
        "mean": {
            "ours": mean.read_bytes(),
            "qkv_split": qkv(mean, arguments.heads, False),
            "qkv_heads": qkv(mean, arguments.heads, True),
            "f64_pooling": pooled_by(mean, F64_POOLING),
        }
    }
    if arguments.plain:
        sets["mean"]["plain"] = (arguments.plain / "model.onnx").read_bytes()
    if arguments.cls:
        sets["cls"] = {"uncut": pooled_by(mean, UNCUT), "ours": (arguments.cls / "model.onnx").read_bytes()}
    result = {
        "what": "a graph against variants of it, ONNX Runtime's CPU provider",
        "encoder": arguments.mean.name,
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0]},
        "threads": THREADS,
        "versions": {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "numpy": np.__version__},
        "command": f"python benches/graph_variants.py --mean {arguments.mean.name} ... --repeats {arguments.repeats}",
    }
    for name, graphs in sets.items():
        result[name] = [measure(graphs, shape, arguments.repeats) for shape in SHAPES]
    result["machine"]["load_at_end"] = os.getloadavg()[0]
    text = json.dumps(result, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
