"""Runs the fp32 and the fp16 bundle of one checkpoint on a GPU and compares vectors and speed.

    offprint export --model CHECKPOINT -o fp32
    offprint export --model CHECKPOINT -o fp16 --precision fp16
    python benches/gpu/fp16.py --fp32 fp32 --fp16 fp16 --corpus papers.jsonl --text-field text --out result.json

Needs onnxruntime-gpu, tokenizers and numpy. The whole graph must run on the provider (fallback to the CPU is disabled) and
TF32 is off. Vectors of both are compared with those of the fp32 bundle on the CPU provider; exit 1 if the worst cosine of
the fp16 bundle is below 0.9999. Texts are sorted by length and cut into batches of `--max-batch-tokens` padded tokens.
"""

import argparse
import json
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy
import onnxruntime
from tokenizers import Tokenizer

LEAST_COSINE = 0.9999
CPU = "CPUExecutionProvider"
OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}


def batches(bundle, texts, budget):
    """Ids and mask of each batch, and the places of its texts."""
    longest = tomllib.loads((bundle / "bundle.toml").read_text())["max_length"]
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    order = sorted(range(len(ids)), key=lambda at: -len(ids[at]))
    while order:
        columns = len(ids[order[0]])
        rows, order = order[: max(1, budget // columns)], order[max(1, budget // columns) :]
        table, mask = (numpy.zeros((len(rows), columns), numpy.int64) for _ in range(2))
        for row, at in enumerate(rows):
            table[row, : len(ids[at])], mask[row, : len(ids[at])] = ids[at], 1
        yield rows, {"input_ids": table, "attention_mask": mask}


def run(bundle, provider, planned, repeats):
    """Vectors, and the seconds of the fastest of `repeats` passes behind a first one that is not counted."""
    options = onnxruntime.SessionOptions()
    if provider != CPU:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=[(provider, OPTIONS.get(provider, {}))])
    assert session.get_providers()[0] == provider, f"{provider} did not take the graph: {session.get_providers()}"
    vectors, seconds = {}, []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for rows, feed in planned:
            vectors.update(zip(rows, session.run(["sentence_embedding"], feed)[0]))
        seconds.append(time.perf_counter() - start)
    return numpy.array([vectors[at] for at in range(len(vectors))], numpy.float64), min(seconds[1:], default=seconds[0])


def cosines(one, other):
    return (one * other).sum(axis=1) / numpy.linalg.norm(one, axis=1) / numpy.linalg.norm(other, axis=1)


def device():
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fp32", type=Path, required=True, help="bundle in fp32")
    parser.add_argument("--fp16", type=Path, required=True, help="bundle in fp16")
    parser.add_argument("--corpus", type=Path, required=True, help="JSON Lines")
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--limit", type=int, default=2000, help="texts (default 2000)")
    parser.add_argument("--provider", default="CUDAExecutionProvider")
    parser.add_argument("--max-batch-tokens", type=int, default=16384)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.corpus.read_text(encoding="utf-8").splitlines()]
    texts = [row[arguments.text_field] for row in rows[: arguments.limit]]
    planned = list(batches(arguments.fp32, texts, arguments.max_batch_tokens))
    reference, _ = run(arguments.fp32, CPU, planned, 0)
    result = {"device": device(), "provider": arguments.provider, "onnxruntime": onnxruntime.__version__, "texts": len(texts), "max_batch_tokens": arguments.max_batch_tokens}
    for precision in ["fp32", "fp16"]:
        vectors, seconds = run(getattr(arguments, precision), arguments.provider, planned, arguments.repeats)
        got = cosines(reference, vectors)
        result[precision] = {"cosine_min": float(got.min()), "cosine_mean": float(got.mean()), "papers_per_second": round(len(texts) / seconds, 1)}
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["fp16"]["cosine_min"] >= LEAST_COSINE else 1)


if __name__ == "__main__":
    main()
