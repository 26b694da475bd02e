"""Compares a bundle's graph with transformers, and with itself in other batches.

    python export/oracle/check_graph.py --checkpoint DIR --bundle DIR [--rows 60] [--longest N]

Three checks, each an exit status of 1 when it fails:
  form    onnx.checker with full check, strict shape inference and data propagation; no value without a shape;
          no Shape, Size or other shape arithmetic
  parity  largest |difference| to transformers (torch, fp32, each row alone) over rows of 3 tokens to the longest
  bits    the same bits alone, in batches of 2 to 24, with 0 to 40 padding columns, shuffled, with 1 or 2 threads

Needs torch, transformers, onnx, onnxruntime. The bundle comes from `offprint export`, or, during development, from
`OFFPRINT_EXPORT_FROM=DIR OFFPRINT_EXPORT_INTO=DIR cargo test --lib export_a_folder -- --ignored`.
"""

import argparse
import pathlib
import sys
import tomllib

import numpy as np
import onnx
import onnxruntime
import torch
import transformers

SHAPE_ARITHMETIC = {"Shape", "Size", "Range", "NonZero", "ConstantOfShape", "Expand"}


def check_form(path):
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    known = {value.name for value in [*inferred.graph.value_info, *inferred.graph.output]}
    unknown = [name for node in model.graph.node for name in node.output if name not in known]
    arithmetic = [node.name for node in model.graph.node if node.op_type in SHAPE_ARITHMETIC]
    print(f"form: {len(model.graph.node)} nodes, without a shape: {unknown}, shape arithmetic: {arithmetic}")
    return not unknown and not arithmetic


def make_rows(count, longest, vocabulary, seed=0):
    """Rows of random ids, the shortest and the longest among them."""
    generator = np.random.default_rng(seed)
    lengths = [3, 4, 5, longest, longest - 1, *generator.integers(3, longest + 1, count)][:count]
    return [generator.integers(0, vocabulary, length) for length in lengths]


def reference(checkpoint, rows, pooling, normalize):
    model = transformers.AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    vectors = []
    for row in rows:
        with torch.no_grad():
            ids = torch.from_numpy(row[None])
            states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        vector = states[0] if pooling == "cls" else states.mean(dim=0)
        vectors.append(torch.nn.functional.normalize(vector, dim=0) if normalize else vector)
    return torch.stack(vectors).numpy()


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(onnx_session, rows, padding=0):
    columns = max(len(row) for row in rows) + padding
    ids = np.zeros((len(rows), columns), np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return onnx_session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def check_bits(path, rows, positions, seed=1):
    generator = np.random.default_rng(seed)
    sessions = {threads: session(path, threads) for threads in (1, 2)}
    alone = np.concatenate([run(sessions[1], [row]) for row in rows])
    wrong = compared = 0
    for threads, onnx_session in sessions.items():
        for size in (1, 2, 3, 5, 8, 16, 24):
            for padding in (0, 1, 2, 3, 8, 17, 40):
                order = generator.permutation(len(rows))
                for start in range(0, len(order), size):
                    chosen = order[start : start + size]
                    width = max(len(rows[index]) for index in chosen)
                    got = run(onnx_session, [rows[index] for index in chosen], min(padding, positions - width))
                    same = (got.view(np.uint32) == alone[chosen].view(np.uint32)).all(axis=1)
                    wrong, compared = wrong + int((~same).sum()), compared + len(chosen)
    print(f"bits: {wrong} of {compared} rows differ from the row computed alone")
    return wrong == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, type=pathlib.Path)
    parser.add_argument("--bundle", required=True, type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--longest", type=int, help="longest row in tokens (default: the position table)")
    parser.add_argument("--tolerance", type=float, default=2e-6)
    parser.add_argument("--skip-bits", action="store_true")
    arguments = parser.parse_args()
    manifest = tomllib.loads((arguments.bundle / "bundle.toml").read_text())
    graph = arguments.bundle / "model.onnx"
    config = transformers.AutoConfig.from_pretrained(arguments.checkpoint)
    longest = arguments.longest or config.max_position_embeddings
    rows = make_rows(arguments.rows, longest, config.vocab_size)

    passed = [check_form(graph)]
    onnx_session = session(graph, 2)
    got = np.concatenate([run(onnx_session, [row]) for row in rows])
    want = reference(arguments.checkpoint, rows, manifest["pooling"], manifest["normalize"])
    worst = float(np.abs(got - want).max())
    # Vectors that aren't normalized have entries of about 1, not 1/sqrt(dim): the bound is relative to the largest.
    bound = arguments.tolerance * (1.0 if manifest["normalize"] else float(np.abs(want).max()))
    print(f"parity: largest difference {worst:.2e}, allowed {bound:.2e}, over {len(rows)} rows")
    passed.append(worst <= bound)
    if not arguments.skip_bits:
        passed.append(check_bits(graph, rows, config.max_position_embeddings))
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
