"""Regenerates and compares everything about architectures: tests/data/tiny-architectures, and graphs against transformers.

    python export/oracle/check_architectures.py --offprint target/release/offprint [--real] [--only NAME ...] [--results FILE]

For each tiny checkpoint: made anew, it must be what is committed; for each pooling, its graph is exported and goes through
  form    onnx.checker with full check, strict shape inference; no Shape, Size, other shape arithmetic or computed Slice
  parity  largest |difference| to torch in f64 as a share of the vector's norm: each row alone, and in batches with
          padding; embeddings, logits and probabilities; allowed 1e-5
  bits    rows of two tokens or more have the same bits alone and in padded batches, with 1 and 2 threads

`--real` does the same with a checkpoint of real size and random weights per architecture (made in a temporary folder, the
sizes that transformers gives the family where REAL_OPTIONS says no other, rows of one token up to LONGEST), in fewer batches.
`--results` writes what was measured as JSON, after each architecture. Needs torch, transformers, onnx, onnxruntime.
"""

import argparse
import datetime
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib

import numpy as np
import onnx
import onnxruntime
import torch
import transformers

import make_tiny_architectures as tiny
from check_graph import check_form, session

COMMITTED = pathlib.Path("tests/data/tiny-architectures")
TOLERANCE = 1e-5
REAL = ["bert", "roberta", "xlm-roberta", "distilbert", "electra", "mpnet", "albert", "modernbert"]
REAL_OPTIONS = {
    "roberta": dict(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5),
    "xlm-roberta": dict(vocab_size=60000, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5),
    "electra": dict(hidden_size=768, embedding_size=128, num_attention_heads=12, intermediate_size=3072),
    "mpnet": dict(max_position_embeddings=514),
    "albert": dict(hidden_size=768, num_attention_heads=12, intermediate_size=3072),
}
# Tokens of the longest row: what the position table serves; for rotary positions, many windows.
LONGEST = {"modernbert": 1024}


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


def tiny_plan(rows, room):
    """Batches as (threads, numbers of rows, padding columns)."""
    generator = np.random.default_rng(1)
    plan = [(2, list(range(len(rows))), min(5, room))]
    for threads in (1, 2):
        for size in (1, 2, 3, 5):
            for padding in sorted({min(padding, room) for padding in (0, 1, 3, 8)}):
                order = generator.permutation(np.arange(len(rows)).repeat(2)).tolist()
                plan += [(threads, order[start : start + size], padding) for start in range(0, len(order), size)]
    return plan


def real_plan(rows, room):
    """The longest row beside the shortest, beside all others, and the others among themselves with padding."""
    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    return [(1, [by_length[-1], by_length[1]], 0), (2, by_length, 0), (2, [by_length[-1]], 0), (2, by_length[:-1], 8)]


def check_numbers(graph, rows, want, pad_id, plan):
    """Parity and bits over all rows alone, on one thread, and over the batches of a plan."""
    sessions = {threads: session(graph, threads) for threads in (1, 2)}
    alone = [run(sessions[1], [row], 0, pad_id) for row in rows]
    worst = {name: difference(np.concatenate([row[name] for row in alone]), values) for name, values in want.items()}
    padded = dict.fromkeys(want, 0.0)
    wrong = compared = 0
    for threads, chosen, padding in plan:
        got = run(sessions[threads], [rows[index] for index in chosen], padding, pad_id)
        for name, values in want.items():
            padded[name] = max(padded[name], difference(got[name], values[chosen]))
            for place, index in enumerate(chosen):
                if len(rows[index]) > 1:
                    compared += 1
                    wrong += got[name][place].tobytes() != alone[index][name][0].tobytes()
    shown = ", ".join(f"{name} {worst[name]:.1e} alone, {padded[name]:.1e} in batches" for name in want)
    print(f"parity: {shown}\nbits: {wrong} of {compared} rows differ from the row computed alone")
    found = {name: {"alone": worst[name], "in_batches": padded[name]} for name in want}
    passed = wrong == 0 and all(value <= TOLERANCE for value in [*worst.values(), *padded.values()])
    return passed, {"largest_share_of_norm": found, "rows_compared": compared, "rows_with_other_bits": wrong}


def check_checkpoint(offprint, folder, model, rows, make_plan):
    reference = {name: values.numpy() for name, values in tiny.reference(model, rows).items()}
    pad_id = model.config.pad_token_id
    room = model.config.max_position_embeddings - max(len(row) for row in rows)
    room -= pad_id + 1 if "roberta" in folder.name or "mpnet" in folder.name else 0
    rows, passed, measured = [row.numpy() for row in rows], [], {}
    for pooling in ("cls", "mean"):
        with tempfile.TemporaryDirectory() as workshop:
            bundle = pathlib.Path(workshop) / "bundle"
            command = [offprint, "export", "--model", folder, "-o", bundle, "--pooling", pooling, "--no-normalize"]
            subprocess.run(command, check=True, capture_output=True)
            graph = bundle / "model.onnx"
            manifest = tomllib.loads((bundle / "bundle.toml").read_text())
            print(f"{folder.name} {pooling} {[head['task'] for head in manifest.get('head', [])]}")
            form = check_form(graph) and not computed_slices(graph)
            want = {"sentence_embedding": reference[pooling]}
            want |= {name: reference[name] for name in ("logits", "probabilities") if name in reference}
            numbers, measured[pooling] = check_numbers(graph, rows, want, pad_id, make_plan(rows, room))
            measured[pooling] |= {"form": form, "parameters": manifest["parameters"]}
            passed += [form, numbers]
    return all(passed), {"tokens": [len(row) for row in rows], **measured}


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
    same, measured = check_checkpoint(offprint, workshop / name, model, tiny.rows_for(model.config, longest), tiny_plan)
    return same and passed, measured


def check_real(offprint, model_type, workshop):
    torch.manual_seed(0)
    labels = {0: "a", 1: "b", 2: "c"}
    config = transformers.AutoConfig.for_model(model_type, id2label=labels, **REAL_OPTIONS.get(model_type, {}))
    model = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    folder = workshop / model_type
    model.save_pretrained(folder)
    shutil.copy(COMMITTED / "tokenizer.json", folder)
    generator = torch.Generator().manual_seed(3)
    lengths = (1, 2, 23, 130, LONGEST.get(model_type, 512))
    rows = [torch.randint(5, config.vocab_size, (length,), generator=generator) for length in lengths]
    return check_checkpoint(offprint, folder, model, rows, real_plan)


def write_results(path, measured, kind):
    versions = {module.__name__: module.__version__ for module in (torch, transformers, onnx, onnxruntime)}
    results = {"date": str(datetime.date.today()), "checkpoints": kind, "versions": versions, "allowed": TOLERANCE, "measured": measured}
    path.write_text(json.dumps(results, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offprint", default="target/release/offprint")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--results", type=pathlib.Path)
    arguments = parser.parse_args()
    known = REAL if arguments.real else [name for name, *_ in tiny.CHECKPOINTS]
    passed, measured = [], {}
    for number, name in enumerate(known):
        if arguments.only and name not in arguments.only:
            continue
        with tempfile.TemporaryDirectory() as workshop:
            workshop = pathlib.Path(workshop)
            subject = name if arguments.real else number
            check, measured[name] = (check_real if arguments.real else check_tiny)(arguments.offprint, subject, workshop)
        if arguments.results:
            write_results(arguments.results, measured, "real size, random weights" if arguments.real else "tiny")
        passed.append(check)
        print(f"{name}: {'passed' if check else 'FAILED'}\n", flush=True)
    sys.exit(0 if passed and all(passed) else 1)


if __name__ == "__main__":
    main()
