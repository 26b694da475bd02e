"""int8 in one table: offprint's points, its fp32, and what peers make of the same weights, against torch in fp32.

Texts are taken in equal parts from labelled sets. Every repeat runs each side once, in a process of its own, peers at
their default batch size; the order turns around with every repeat. Peers' seconds are those of a warmed-up encode on
texts in memory; offprint's are those of the whole run, from reading the corpus over opening the model to the finished
file. Cosines are those with the vectors of sentence-transformers on torch in fp32. Writes one JSON object with all raw
runs, and prints the table of the README.

    .venv-oracle/bin/python benches/side_by_side/int8.py --data folder --out benches/results/int8-minilm.json
    .venv-oracle/bin/python benches/side_by_side/int8.py --data folder --model bert-base --limit 200 --repeats 3 --out benches/results/int8-bert-base.json
"""

import argparse
import hashlib
import json
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

import common
from run import ratio

MAX_LENGTH = 256
SETS = "arxiv_cs_primary,mag_paper_field_dev,trec,scicite,ag_news_test7600"
TORCH = "sentence-transformers fp32"
# By side: the worker's name for it, where it is installed, and the batch size it has unless told otherwise. optimum
# itself has no loop; 1 is the default of the pipelines that its documentation builds on.
PEERS = {
    TORCH: ("sentence-transformers", ".venv-oracle", 32),
    "sentence-transformers int8": ("sentence-transformers int8", ".venv-peers/optimum", 32),
    "optimum int8": ("optimum int8", ".venv-peers/optimum", 1),
}
OWN = "offprint fp32"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--model", choices=["minilm", "bert-base"], default="minilm", help="bert-base has random weights (default minilm)")
    parser.add_argument("--sets", default=SETS, help=f"labelled sets that texts are taken from (default {SETS})")
    parser.add_argument("--limit", type=int, default=2000, help="texts (default 2000)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side, 2 to 10 (default 5)")
    parser.add_argument("--points", default="default,fast,all", help="offprint's int8 points (default default,fast,all)")
    parser.add_argument("--calibrate", action="append", default=[], help="papers for `offprint export --calibrate` (default: built-in texts)")
    parser.add_argument("--bundles", type=Path, default=None, help="keep bundles in this folder, and use those that are there")
    parser.add_argument("--venvs", type=Path, default=common.ROOT, help="where .venv-oracle and .venv-peers are")
    arguments = parser.parse_args()
    if arguments.data is None:
        common.fail("no folder of labelled sets", "name it with `--data` or OFFPRINT_DATA")
    if not 2 <= arguments.repeats <= 10:
        common.fail(f"`--repeats` is {arguments.repeats}, expected 2 to 10", "5 is the default")
    for _, venv, _ in PEERS.values():
        if not (arguments.venvs / venv / "bin" / "python").is_file():
            common.fail(f"`{arguments.venvs / venv / 'bin' / 'python'}` does not exist", "make oracle-venv, or name its folder with `--venvs`")
    return arguments


def texts_of(arguments):
    """The same number of texts of each set, drawn by a fixed seed, each once."""
    names = arguments.sets.split(",")
    share = -(-arguments.limit // len(names))
    chosen, seen = [], set()
    for name in names:
        path = common.labelled_set(arguments.data, name)
        if path is None:
            common.fail(f"`{arguments.data}` has no set `{name}`", "name the sets with `--sets`")
        texts = [common.plain_text(row) for row in common.read_rows(path)]
        random.Random(0).shuffle(texts)
        fresh = [text for text in dict.fromkeys(texts) if text and text not in seen][:share]
        seen.update(fresh)
        chosen += fresh
    random.Random(0).shuffle(chosen)
    return chosen[: arguments.limit]


def work(arguments, side, *rest):
    worker, venv, _ = PEERS[side]
    command = [arguments.venvs / venv / "bin" / "python", Path(__file__).resolve().parent / "worker.py", "--peer", worker]
    command += ["--threads", arguments.threads, "--max-length", MAX_LENGTH]
    return common.run_measured([*command, *rest], arguments.threads)


def export(arguments, checkpoint, folder, point):
    """The bundle of a point, or the fp32 one; what was measured at its export."""
    bundle = folder / f"{arguments.model}-{point}"
    if not (bundle / "bundle.toml").is_file():
        command = [arguments.program, "export", "--model", checkpoint, "-o", bundle, "--max-length", MAX_LENGTH, "--json"]
        if arguments.model == "minilm":
            command += ["--recipe", common.RECIPE]
        if point != "fp32":
            command += ["--precision", "int8", "--int8-point", point]
            command += ["--calibrate", *arguments.calibrate] if arguments.calibrate else []
        _, wall, _ = common.run_measured(command, arguments.threads)
        (bundle.parent / f"{bundle.name}.seconds").write_text(str(wall))
    seconds = bundle.parent / f"{bundle.name}.seconds"
    described = subprocess.run([arguments.program, "inspect", bundle, "--json"], stdout=subprocess.PIPE, check=True)
    found = json.loads(described.stdout)
    manifest = found.get("manifest") or found.get("bundle") or {}
    return bundle, {"export_seconds": float(seconds.read_text()) if seconds.is_file() else None, "int8": manifest.get("int8")}


def run_own(arguments, bundle, corpus, out):
    command = [arguments.program, "embed", "--model", bundle, "--text-field", "text", corpus, "-o", out, "--no-cache"]
    account, wall, peak = common.run_measured([*command, "--threads", arguments.threads, "--json"], arguments.threads)
    return {"seconds": account["seconds"], "load_seconds": account["stages"]["open"], "wall_seconds": wall, "peak_bytes": peak}


def interleave(arguments, bundles, models, corpus, folder):
    """All runs by side; the first repeat keeps the vectors of each, torch first."""
    labels = [TORCH, *bundles, *(label for label in PEERS if label != TORCH)]
    runs = {label: [] for label in labels}
    vectors = {label: folder / f"{at}.npy" for at, label in enumerate(labels)}
    for repeat in range(arguments.repeats):
        for label in labels if repeat % 2 == 0 else reversed(labels):
            if label in bundles:
                run = run_own(arguments, bundles[label], corpus, vectors[label])
            else:
                size = PEERS[label][2]
                rest = ["--save", vectors[label]] if repeat == 0 else []
                run, wall, _ = work(arguments, label, "--model", models[label], "--corpus", corpus, "--batch-sizes", size, *rest)
                run.update(seconds=run["seconds"][str(size)], wall_seconds=wall)
            runs[label].append(run)
            print(f"  repeat {repeat + 1}: {label}: {run['seconds']:.2f} s", flush=True)
    return runs, vectors


def summaries(arguments, runs, vectors, texts):
    """What the table has of each side."""
    own = [run["seconds"] for run in runs[OWN]]
    found = {}
    for label in runs:
        agreement, _, _ = work(arguments, TORCH, "--agree", vectors[label], "--compare", vectors[TORCH])
        seconds = [run["seconds"] for run in runs[label]]
        found[label] = {
            "batch_size": PEERS[label][2] if label in PEERS else None,
            "seconds": common.summary(seconds),
            "papers_per_second": texts / statistics.median(seconds),
            "times_own_fp32": ratio(seconds, own),
            "agreement_with_torch_fp32": agreement,
            "peak_mib": max(run["peak_bytes"] for run in runs[label]) / 2**20,
            "versions": runs[label][0].get("versions"),
        }
    return found


def table(sides):
    """Markdown, slowest first: what the README shows."""
    lines = ["| side | batch | papers/s | × offprint fp32 (95 %) | worst cosine | mean cosine | peak memory |", "|---|---|---|---|---|---|---|"]
    for label, side in sorted(sides.items(), key=lambda entry: entry[1]["papers_per_second"]):
        by, agreement = side["times_own_fp32"], side["agreement_with_torch_fp32"]
        times = "1" if label == OWN else f"{by['ratio']:.2f} ({by['low']:.2f}–{by['high']:.2f})"
        lines.append(
            f"| {label} | {side['batch_size'] or 'by tokens'} | {side['papers_per_second']:.1f} | {times} | "
            f"{agreement['cosine_min']:.6f} | {agreement['cosine_mean']:.6f} | {side['peak_mib']:,.0f} MiB |"
        )
    return lines


def main():
    arguments = parse()
    if not arguments.program.is_file():
        common.fail(f"`{arguments.program}` does not exist", "make build")
    texts = texts_of(arguments)
    machine = common.machine()
    print(f"{len(texts)} texts of {arguments.sets}, {arguments.threads} threads, {arguments.repeats} repeats")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        corpus = folder / "corpus.jsonl"
        common.write_corpus(corpus, texts)
        checkpoint = common.checkpoint(arguments)
        if arguments.model == "bert-base":
            work(arguments, TORCH, "--model", checkpoint, "--make-base", folder / "base")
            checkpoint = folder / "base" / "model"
        models = {TORCH: checkpoint}
        for at, label in enumerate(label for label in PEERS if label != TORCH):
            models[label] = folder / f"peer-{at}"
            work(arguments, label, "--model", checkpoint, "--prepare", models[label])
        kept = arguments.bundles or folder / "bundles"
        kept.mkdir(parents=True, exist_ok=True)
        exported = {OWN: export(arguments, checkpoint, kept, "fp32")}
        exported.update((f"offprint int8 {point}", export(arguments, checkpoint, kept, point)) for point in arguments.points.split(","))
        bundles = {label: bundle for label, (bundle, _) in exported.items()}
        runs, vectors = interleave(arguments, bundles, models, corpus, folder)
        sides = summaries(arguments, runs, vectors, len(texts))
    result = {
        "what": f"texts to vectors in int8 and fp32, {arguments.model}: offprint and its peers against torch in fp32",
        "command": common.shown_command(),
        "machine": machine,
        "threads": arguments.threads,
        "max_length": MAX_LENGTH,
        "offprint": common.program_version(arguments.program),
        "corpus": {"sets": arguments.sets, "texts": len(texts), "sha256": hashlib.sha256("\0".join(texts).encode()).hexdigest()},
        "exports": {label: measured for label, (_, measured) in exported.items()},
        "sides": sides,
        "runs": runs,
    }
    print("\n" + "\n".join(table(sides)))
    common.write_result(arguments.out or common.RESULTS / f"int8-{arguments.model}.json", result)


if __name__ == "__main__":
    main()
