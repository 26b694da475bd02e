"""Compares fp16 bundles with fp32 ones of the same checkpoints, on this machine's processor.

MiniLM on 500 texts of the labelled sets, and a BERT-base with random weights on 60 of them: sizes, cosines, and the
processor time of both graphs in ONNX Runtime. The CPU provider computes fp16 in fp32 between conversions, so this says
what rounding does to vectors, and not how fast fp16 is where there are kernels for it; benches/gpu/fp16.py is for that.
Exit 1 if a cosine is below 0.9999 or a graph is not half as large. With `--openvino FILE` also on that library.

    .venv-oracle/bin/python export/oracle/compare_half.py --data folder
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import onnxruntime
import torch
import transformers

import compare

common = compare.common
LEAST_COSINE, LARGEST_SHARE = 0.9999, 0.51
SHAPES = [(1, 32), (16, 64), (4, 256)]
PRECISIONS = ["fp32", "fp16"]


def random_bert(source, folder):
    """BERT-base as transformers initializes it, with the tokenizer of MiniLM, which has the same vocabulary."""
    torch.manual_seed(5)
    transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False).save_pretrained(folder)
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]:
        shutil.copy(source / name, folder)
    return folder


def export(arguments, source, precision, folder):
    bundle = folder / f"{source.name}-{precision}"
    flags = ["--pooling", "mean", "--normalize", "--precision", precision]
    library = ["--ort-lib", arguments.ort_lib] if arguments.ort_lib else []
    subprocess.run([arguments.program, "export", "--model", source, "-o", bundle, *flags, *library], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return bundle


def embed(arguments, bundle, texts, folder, flags):
    corpus, out = folder / "corpus.jsonl", folder / "vectors.npy"
    common.write_corpus(corpus, [text for _, text in texts])
    command = [arguments.program, "embed", "--model", bundle, "--text-field", "text", corpus, "-o", out, "--no-cache", "--json"]
    account, _, _ = common.run_measured([*command, "--threads", arguments.threads, *flags], arguments.threads)
    assert account["rows"] == len(texts) and not account["rejected"], account
    return numpy.load(out).astype(numpy.float64), account


def cosines(one, other):
    return (one * other).sum(axis=1) / numpy.linalg.norm(one, axis=1) / numpy.linalg.norm(other, axis=1)


def described(got, texts):
    return {"texts": len(got), "cosine_min": float(got.min()), "cosine_mean": float(got.mean()), "lowest_at": texts[int(got.argmin())][0]}


def processor_ms(bundle, rows, columns, threads):
    """Median of the processor time of five runs, all threads together."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])
    ids = numpy.random.default_rng(1).integers(1000, 30000, (rows, columns))
    feed = {"input_ids": ids, "attention_mask": numpy.ones_like(ids)}
    times = []
    for _ in range(6):
        start = time.process_time()
        session.run(["sentence_embedding"], feed)
        times.append((time.process_time() - start) * 1000)
    return round(statistics.median(times[1:]), 2)


def model(arguments, source, texts, folder):
    bundles = {precision: export(arguments, source, precision, folder) for precision in PRECISIONS}
    size = {precision: (bundle / "model.onnx").stat().st_size for precision, bundle in bundles.items()}
    allow = ["--fallback", "allow"]
    library = ["--ort-lib", arguments.ort_lib] if arguments.ort_lib else []
    vectors = {precision: embed(arguments, bundle, texts, folder, allow + library) for precision, bundle in bundles.items()}
    full, account = vectors["fp32"]
    result = {
        "graph_bytes": size,
        "share_of_the_size": round(size["fp16"] / size["fp32"], 4),
        "runs": {account["provider"]: described(cosines(full, vectors["fp16"][0]), texts)},
        "processor_ms": {
            f"{rows} x {columns} tokens": {precision: processor_ms(bundle, rows, columns, arguments.threads) for precision, bundle in bundles.items()} for rows, columns in SHAPES
        },
    }
    if arguments.openvino:
        flags = ["--provider", "openvino", "--ort-lib", arguments.openvino]
        other, account = embed(arguments, bundles["fp16"], texts, folder, flags)
        result["runs"][account["provider"]] = described(cosines(full, other), texts)
        check = [arguments.program, "check", "--model", bundles["fp16"], "--json", "--threads", arguments.threads, *flags]
        done = subprocess.run([str(word) for word in check], stdout=subprocess.PIPE, check=False)
        report = json.loads(done.stdout)
        result["runs"][account["provider"]]["largest_change_with_the_batch"] = max(row["max_delta"] for row in report["compositions"])
        result["runs"][account["provider"]]["invariant"] = report["invariant"]
    print(json.dumps(result, indent=2))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--ort-lib", type=Path, default=os.environ.get("ORT_DYLIB_PATH"), help="ONNX Runtime for offprint (env ORT_DYLIB_PATH)")
    parser.add_argument("--openvino", type=Path, default=None, help="library of onnxruntime-openvino, to run the fp16 graph on it as well")
    arguments = parser.parse_args()
    if arguments.data is None:
        common.fail("no folder of labelled sets", "name it with `--data` or OFFPRINT_DATA")
    source = common.checkpoint(arguments)
    texts = compare.labelled_texts(arguments.data, 500)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        models = {"all-MiniLM-L6-v2": model(arguments, source, texts, folder)}
        base = random_bert(source, folder / "bert-base")
        models["BERT-base, random weights"] = model(arguments, base, texts[::9][:60], folder)
    runs = [run for found in models.values() for run in found["runs"].values()]
    passed = all(run["cosine_min"] >= LEAST_COSINE and run.get("invariant", True) for run in runs)
    passed = passed and all(found["share_of_the_size"] <= LARGEST_SHARE for found in models.values())
    result = {
        "what": "fp16 bundles against the fp32 ones of the same checkpoints; on the CPU provider by `--fallback allow`, which computes fp16 in fp32 between conversions",
        "command": common.shown_command(),
        "machine": common.machine(),
        "threads": arguments.threads,
        "offprint": common.program_version(arguments.program),
        "onnxruntime": onnxruntime.__version__,
        "texts_sha256": hashlib.sha256("\0".join(text for _, text in texts).encode()).hexdigest(),
        "least_cosine_allowed": LEAST_COSINE,
        "passed": passed,
        "models": models,
    }
    common.write_result(arguments.out or common.RESULTS / "fp16-cpu.json", result)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
