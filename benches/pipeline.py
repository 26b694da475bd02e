"""What the whole program keeps of what its sessions can do: rate, start, cached work, memory. One run, one file.

    python benches/pipeline.py --data folder --peer-python .venv-oracle/bin/python --out benches/results/pipeline.json

Four promises, on MiniLM and with all runs written down:

* the whole pipeline keeps 95 % of the rate of a bare loop over its own batches on the same sessions (`cargo bench --bench
  pipeline`; the share is the median over rounds in which both run, into a file and into a new cache);
* 100 papers whose vectors are cached are classified in 0.3 s of CPU time, user and system, of the whole process;
* the first embedding is there after 1 s: a corpus of one paper, from the start of the process to its end, files warm;
* `embed` takes at most half of the peak memory of sentence-transformers on the same texts, each a process of its own.

Exit 1 if one of them is broken. Without `--peer-python` the last one is not measured, and said so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import common

MAX_LENGTH = 256
LEAST_SHARE, MOST_CPU, MOST_START, MOST_MEMORY = 0.95, 0.3, 1.0, 0.5
PAPERS = 100
WORKER = Path(common.__file__).resolve().parent / "worker.py"


def timed(command, threads):
    """Runs a child to its end: what it printed as JSON, and its seconds by the clock and of the CPU, and peak bytes."""
    start = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, env=common.environment(threads))
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        common.fail(f"`{Path(command[0]).name} {command[1]}` ended with status {child.returncode}", "see its message above")
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(output), {"wall_seconds": wall, "cpu_seconds": usage.ru_utime + usage.ru_stime,
                                "peak_bytes": usage.ru_maxrss * unit}


def offprint(arguments, command, corpus, *rest):
    words = [arguments.program, command, "--model", common.BUNDLE, corpus, "--json", "--threads", arguments.threads]
    return timed([*words, *rest], arguments.threads)


def texts_of(arguments):
    """The name of the set and its distinct texts."""
    path = common.labelled_set(arguments.data, arguments.set)
    if arguments.data and path is None:
        common.fail(f"`{arguments.data}` has no set `{arguments.set}`", "name another with `--set`")
    rows = common.read_rows(path or common.ROOT / "examples" / "papers.jsonl")
    name = arguments.set if path else "examples/papers.jsonl"
    return name, list(dict.fromkeys(common.plain_text(row) for row in rows))[: arguments.limit]


def kept_share(arguments, corpus, folder):
    """Seconds of the bare loop over those of the pipeline, by round."""
    result = folder / "pipeline.json"
    names = {"BUNDLE": common.BUNDLE, "CORPUS": corpus, "JSON": result, "THREADS": arguments.threads,
             "ROUNDS": arguments.rounds}
    environment = dict(os.environ, **{f"OFFPRINT_PIPELINE_{name}": str(value) for name, value in names.items()})
    command = [arguments.bench] if arguments.bench else ["cargo", "bench", "--locked", "--bench", "pipeline"]
    subprocess.run(command, cwd=common.ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(result.read_text())
    for way in ["file", "cache"]:
        shares = [entry["bare_loop"] / entry[f"pipeline_to_{way}"] for entry in found["rounds"]]
        found[f"share_to_{way}"] = common.summary(shares)
    medians = [found[f"share_to_{way}"]["median"] for way in ["file", "cache"]]
    return dict(found, bound=LEAST_SHARE, kept=min(medians) >= LEAST_SHARE)


def cached_classification(arguments, folder):
    """CPU seconds of labelling papers that an earlier run embedded."""
    rows = [row for name in ["papers", "new-papers"] for row in common.read_rows(common.ROOT / "examples" / f"{name}.jsonl")]
    corpus, head, out = folder / "papers.jsonl", folder / "field.head", folder / "labels.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows[:PAPERS]), encoding="utf-8")
    cache = ["--cache-dir", folder / "cache"]
    offprint(arguments, "train", corpus, "--label", "field", "-o", head, *cache)
    runs = []
    for _ in range(arguments.repeats):
        account, run = offprint(arguments, "classify", corpus, "--head", head, "-o", out, *cache)
        if account["cached"] != PAPERS:
            common.fail(f"{account['cached']} of {PAPERS} papers were cached", "look at `offprint cache stat`")
        runs.append(run)
    cpu = common.summary([run["cpu_seconds"] for run in runs])
    return {"papers": PAPERS, "cpu_seconds": cpu, "wall_seconds": common.summary([run["wall_seconds"] for run in runs]),
            "bound": MOST_CPU, "kept": cpu["median"] <= MOST_CPU}


def first_embedding(arguments, text, folder):
    """Seconds from the start of the process to the end of a run with one paper; a first run warms the files."""
    corpus, out = folder / "one.jsonl", folder / "one.npy"
    common.write_corpus(corpus, [text])
    run = ("embed", corpus, "--text-field", "text", "--no-cache", "-o", out)
    walls = [offprint(arguments, *run)[1]["wall_seconds"] for _ in range(arguments.repeats + 1)][1:]
    seconds = common.summary(walls)
    return {"wall_seconds": seconds, "bound": MOST_START, "kept": seconds["median"] <= MOST_START}


def memory(arguments, checkpoint, corpus, folder):
    """Peak memory of both sides, in turn."""
    if not arguments.peer_python:
        return {"not_measured": "no `--peer-python` with sentence-transformers", "kept": True}
    peer = [arguments.peer_python, WORKER, "--peer", "sentence-transformers", "--model", checkpoint, "--corpus", corpus,
            "--threads", arguments.threads, "--max-length", MAX_LENGTH, "--batch-sizes", 32]
    own, other, versions = [], [], None
    for _ in range(3):
        run = ("embed", corpus, "--text-field", "text", "--no-cache", "-o", folder / "vectors.npy")
        own.append(offprint(arguments, *run)[1]["peak_bytes"])
        answer, run = timed(peer, arguments.threads)
        other.append(run["peak_bytes"])
        versions = answer["versions"]
    ratio = statistics.median(own) / statistics.median(other)
    return {"offprint_bytes": common.summary(own), "sentence_transformers_bytes": common.summary(other),
            "versions": versions, "ratio": ratio, "bound": MOST_MEMORY, "kept": ratio <= MOST_MEMORY}


def lines(result):
    """What people read."""
    share, cached, first, peak = (result[name] for name in ["share", "cached", "first", "memory"])
    yield f"share of a bare loop: {share['share_to_file']['median']:.3f} into a file, " \
          f"{share['share_to_cache']['median']:.3f} into the cache (at least {LEAST_SHARE})"
    yield f"{PAPERS} cached papers: {cached['cpu_seconds']['median']:.3f} s of CPU (at most {MOST_CPU})"
    yield f"first embedding: {first['wall_seconds']['median']:.3f} s (at most {MOST_START})"
    yield "memory: not measured" if "ratio" not in peak else \
        f"memory: {peak['ratio']:.2f} of sentence-transformers' (at most {MOST_MEMORY})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--set", default="arxiv_cs_primary", help="labelled set (default arxiv_cs_primary); without --data the sample papers")
    parser.add_argument("--limit", type=int, default=600, help="texts at most (default 600)")
    parser.add_argument("--rounds", type=int, default=5, help="of loop and pipeline (default 5)")
    parser.add_argument("--repeats", type=int, default=10, help="of the short runs (default 10)")
    parser.add_argument("--bench", type=Path, help="the built bench `pipeline`, in the place of `cargo bench`")
    parser.add_argument("--peer-python", type=Path, help="a Python with sentence-transformers")
    arguments = parser.parse_args()
    checkpoint = common.prepare(arguments)
    name, texts = texts_of(arguments)
    machine = common.machine()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        corpus = folder / "corpus.jsonl"
        common.write_corpus(corpus, texts)
        measured = {
            "share": kept_share(arguments, corpus, folder),
            "cached": cached_classification(arguments, folder),
            "first": first_embedding(arguments, texts[0], folder),
            "memory": memory(arguments, checkpoint, corpus, folder),
        }
    result = {
        "what": "the whole program against a bare loop, its start, cached work and memory",
        "command": common.shown_command(),
        "machine": machine,
        "threads": arguments.threads,
        "offprint": common.program_version(arguments.program),
        "corpus": {"name": name, "texts": len(texts)},
        **measured,
    }
    print("\n".join(lines(result)))
    common.write_result(arguments.out or common.RESULTS / "pipeline.json", result)
    sys.exit(0 if all(part["kept"] for part in measured.values()) else 1)


if __name__ == "__main__":
    main()
