"""Regenerates and compares everything about architectures: tests/data/tiny-architectures, and graphs against transformers.

    python export/oracle/check_architectures.py --offprint target/release/offprint [--real] [--only NAME ...]

For each tiny checkpoint: made anew, it must be what is committed; for each pooling, its graph is exported and goes through
  form    onnx.checker with full check, strict shape inference; no Shape, Size, other shape arithmetic or computed Slice
  parity  largest |difference| to torch in f64 as a share of the vector's norm: each row alone, and all in one batch with
          padding; embeddings, logits and probabilities; allowed 1e-5
  bits    rows of two tokens or more have the same bits alone and in padded batches, with 1 and 2 threads

`--real` does the same with a checkpoint of real size and random weights per architecture (made in a temporary folder,
12 layers of 768 where the family has them, rows up to 512 tokens; bits on the shorter ones). Needs torch, transformers, onnx, onnxruntime.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib

import numpy as np
import onnx
import torch
import transformers

import make_tiny_architectures as tiny
from check_graph import check_form, session

COMMITTED = pathlib.Path("tests/data/tiny-architectures")
TOLERANCE = 1e-5
REAL = ["bert", "roberta", "xlm-roberta", "distilbert", "electra", "mpnet", "albert"]
REAL_OPTIONS = {
    "roberta": dict(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5),
    "xlm-roberta": dict(vocab_size=60000, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5),
    "electra": dict(hidden_size=768, embedding_size=128, num_attention_heads=12, intermediate_size=3072),
    "mpnet": dict(max_position_embeddings=514),
    "albert": dict(hidden_size=768, num_attention_heads=12, intermediate_size=3072),
}


def computed_slices(path):
    """Slices whose bounds are not constants."""
    graph = onnx.load(path).graph
    constants = {constant.name for constant in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "Slice" and not constants.issuperset(node.input[1:])]


def run(onnx_session, rows, padding, pad_id):
    columns = max(len(row) for row in rows) + padding
    ids = np.full((len(rows), columns), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    names = [output.name for output in onnx_session.get_outputs()]
    return dict(zip(names, onnx_session.run(None, {"input_ids": ids, "attention_mask": mask})))


def difference(got, want):
    norms = np.linalg.norm(want, axis=1, keepdims=True)
    return float((np.abs(got - want) / norms).max())


def check_parity(graph, rows, want, room):
    onnx_session, pad_id = session(graph, 2), want.pop("pad_id")
    alone = [run(onnx_session, [row], 0, pad_id) for row in rows]
    padded = run(onnx_session, rows, min(5, room), pad_id)
    worst = {}
    for name, expected in want.items():
        single = np.concatenate([row[name] for row in alone])
        worst[name] = max(difference(single, expected), difference(padded[name], expected))
    print("parity: " + ", ".join(f"{name} {value:.1e}" for name, value in worst.items()))
    return all(value <= TOLERANCE for value in worst.values())


def check_bits(graph, rows, pad_id, room):
    rows = [row for row in rows if len(row) > 1]
    generator = np.random.default_rng(1)
    sessions = [session(graph, threads) for threads in (1, 2)]
    alone = [run(sessions[0], [row], 0, pad_id) for row in rows]
    wrong = compared = 0
    for onnx_session in sessions:
        for size in (1, 2, 3, 5):
            for padding in sorted({min(padding, room) for padding in (0, 1, 3, 8)}):
                order = generator.permutation(np.arange(len(rows)).repeat(2))
                for start in range(0, len(order), size):
                    chosen = order[start : start + size]
                    got = run(onnx_session, [rows[index] for index in chosen], padding, pad_id)
                    for name, values in got.items():
                        for place, index in enumerate(chosen):
                            compared += 1
                            wrong += values[place].tobytes() != alone[index][name][0].tobytes()
    print(f"bits: {wrong} of {compared} rows differ from the row computed alone")
    return wrong == 0


def check_checkpoint(offprint, folder, model, rows, longest_for_bits=None):
    want = {name: values.numpy() for name, values in tiny.reference(model, rows).items()}
    longest = max(len(row) for row in rows)
    positions = model.config.max_position_embeddings
    room = positions - longest - (model.config.pad_token_id + 1 if "roberta" in folder.name or "mpnet" in folder.name else 0)
    rows, passed = [row.numpy() for row in rows], []
    for pooling in ("cls", "mean"):
        with tempfile.TemporaryDirectory() as workshop:
            bundle = pathlib.Path(workshop) / "bundle"
            command = [offprint, "export", "--model", folder, "-o", bundle, "--pooling", pooling, "--no-normalize"]
            subprocess.run(command, check=True, capture_output=True)
            graph = bundle / "model.onnx"
            print(f"{folder.name} {pooling} {tomllib.loads((bundle / 'bundle.toml').read_text()).get('classifier', '')}")
            slices = computed_slices(graph)
            passed.append(check_form(graph) and not slices)
            expected = {"sentence_embedding": want[pooling], "pad_id": model.config.pad_token_id}
            expected |= {name: want[name] for name in ("logits", "probabilities") if name in want}
            passed.append(check_parity(graph, rows, expected, room))
            few = [row for row in rows if len(row) <= (longest_for_bits or longest)]
            passed.append(check_bits(graph, few, model.config.pad_token_id, room))
    return all(passed)


def same_files(made, committed):
    names = {file.name for folder in (made, committed) for file in folder.iterdir()}
    other = [name for name in sorted(names) if (made / name).read_bytes() != (committed / name).read_bytes()]
    print(f"{committed.name}: made anew, other bytes in: {other or 'none'}")
    return not other


def check_tiny(offprint, seed, workshop):
    name, model_type, layout, dtype, changes = tiny.CHECKPOINTS[seed]
    tiny.write(workshop, name, model_type, layout, dtype, changes, seed)
    passed = same_files(workshop / name, COMMITTED / name)
    changes = dict(changes)
    headless, longest, _ = changes.pop("headless", False), changes.pop("longest", None), changes.pop("older", False)
    model = tiny.make_model(tiny.make_config(model_type, changes), headless, seed)
    shutil.copy(COMMITTED / "tokenizer.json", workshop / name)
    return check_checkpoint(offprint, workshop / name, model, tiny.rows_for(model.config, longest)) and passed


def check_real(offprint, model_type, workshop):
    torch.manual_seed(0)
    labels = {0: "a", 1: "b", 2: "c"}
    config = transformers.AutoConfig.for_model(model_type, id2label=labels, **REAL_OPTIONS.get(model_type, {}))
    model = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    folder = workshop / model_type
    model.save_pretrained(folder)
    shutil.copy(COMMITTED / "tokenizer.json", folder)
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randint(5, config.vocab_size, (length,), generator=generator) for length in (1, 2, 23, 512)]
    return check_checkpoint(offprint, folder, model, rows, longest_for_bits=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offprint", default="target/release/offprint")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    known = REAL if arguments.real else [name for name, *_ in tiny.CHECKPOINTS]
    passed = []
    for number, name in enumerate(known):
        if arguments.only and name not in arguments.only:
            continue
        with tempfile.TemporaryDirectory() as workshop:
            workshop = pathlib.Path(workshop)
            check = check_real(arguments.offprint, name, workshop) if arguments.real else check_tiny(arguments.offprint, number, workshop)
        passed.append(check)
        print(f"{name}: {'passed' if check else 'FAILED'}\n", flush=True)
    sys.exit(0 if passed and all(passed) else 1)


if __name__ == "__main__":
    main()
