"""offprint against sentence-transformers: same texts, same weights, fp32, same number of threads, same maximum length.

Every repeat runs each side once, in a process of its own, in alternating order. sentence-transformers' seconds are those
of a warmed-up `encode` on texts in memory; offprint's are those of the whole run, from reading the corpus over opening
the model to the finished file. Model load is reported apart for both. Writes one JSON object with all raw runs.

    make bench-side-by-side DATA=folder
    .venv-oracle/bin/python benches/side_by_side/run.py --data folder --set arxiv_cs_primary --limit 600 --batch-sizes 32,4
"""

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

import common

MAX_LENGTH = 256


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--set", default="arxiv_cs_primary", help="labelled set (default arxiv_cs_primary); without --data the sample papers")
    parser.add_argument("--limit", type=int, default=600, help="texts at most; 0 = all (default 600)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-sizes", default="32", help="batch sizes of sentence-transformers, the first is compared with (default 32, its own default)")
    parser.add_argument("--skip-cache", action="store_true", help="leave out the run that is all cache hits")
    return parser.parse_args()


def texts_of(arguments):
    """Distinct texts, in the order of the set; equal ones would be computed once by one side only."""
    path = common.labelled_set(arguments.data, arguments.set)
    if arguments.data and path is None:
        common.fail(f"`{arguments.data}` has no set `{arguments.set}`", "name another with `--set`")
    name = arguments.set if path else "examples/papers.jsonl"
    rows = common.read_rows(path or common.ROOT / "examples" / "papers.jsonl")
    texts = list(dict.fromkeys(common.plain_text(row) for row in rows))
    return name, texts[: arguments.limit] if arguments.limit else texts


def run_offprint(arguments, corpus, out, cache):
    command = [arguments.program, "embed", "--model", common.BUNDLE, "--text-field", "text", corpus, "-o", out]
    command += ["--threads", arguments.threads, "--json"] + (["--cache-dir", cache] if cache else ["--no-cache"])
    account, wall, peak = common.run_measured(command, arguments.threads)
    return {
        "seconds": account["seconds"],
        "load_seconds": account["stages"]["open"],
        "wall_seconds": wall,
        "peak_bytes": peak,
        "padding_share": account.get("padding_share"),
        "provider": account.get("provider"),
        "tokens": account.get("tokens"),
        "cached": account["cached"],
        "rows": account["rows"],
    }


def run_peer(arguments, source, corpus, batch_size, compare):
    command = [sys.executable, Path(__file__).resolve().parent / "st_worker.py", "--model", source, "--corpus", corpus]
    command += ["--threads", arguments.threads, "--batch-size", batch_size, "--max-length", MAX_LENGTH]
    result, wall, _ = common.run_measured(command + (["--compare", compare] if compare else []), arguments.threads)
    return dict(result, wall_seconds=wall)


def interleave(arguments, source, corpus, folder, sizes):
    """All runs by side; the order turns around with every repeat."""
    runs = {"offprint": []}
    runs.update({f"sentence-transformers batch {size}": [] for size in sizes})
    vectors = folder / "vectors.npy"
    for repeat in range(arguments.repeats):
        sides = [("offprint", None)] + [(f"sentence-transformers batch {size}", size) for size in sizes]
        # The first repeat starts with offprint, so that its vectors are there to compare with.
        for side, size in sides if repeat % 2 == 0 else reversed(sides):
            if size is None:
                runs[side].append(run_offprint(arguments, corpus, vectors, None))
            else:
                runs[side].append(run_peer(arguments, source, corpus, size, vectors if repeat == 0 else None))
            print(f"  repeat {repeat + 1}: {side}: {runs[side][-1]['seconds']:.2f} s", flush=True)
    return runs


def all_hits(arguments, corpus, folder):
    """Seconds to fill a cache, then of runs that find everything in it (`wall`: with the start of the process)."""
    cache, out = folder / "cache", folder / "cached.npy"
    fill = run_offprint(arguments, corpus, out, cache)
    hits = [run_offprint(arguments, corpus, out, cache) for _ in range(5)]
    if any(hit["cached"] != hit["rows"] for hit in hits):
        common.fail("a run after filling the cache still computed something", "look at `offprint cache stat`")
    return {
        "fill_seconds": fill["seconds"],
        "hit_seconds": common.summary([hit["seconds"] for hit in hits]),
        "hit_wall_seconds": common.summary([hit["wall_seconds"] for hit in hits]),
    }


def main():
    arguments = parse()
    sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    source = common.prepare(arguments)
    name, texts = texts_of(arguments)
    machine = common.machine()
    print(f"{len(texts)} texts of {name}, {arguments.threads} threads, {arguments.repeats} repeats")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        corpus = folder / "corpus.jsonl"
        common.write_corpus(corpus, texts)
        runs = interleave(arguments, source, corpus, folder, sizes)
        cache = None if arguments.skip_cache else all_hits(arguments, corpus, folder)

    peers = [side for side in runs if side != "offprint"]
    medians = {side: common.summary([run["seconds"] for run in runs[side]])["median"] for side in runs}
    result = {
        "what": "offprint against sentence-transformers, texts to vectors, fp32",
        "command": common.shown_command(),
        "machine": machine,
        "threads": arguments.threads,
        "max_length": MAX_LENGTH,
        "offprint": common.program_version(arguments.program),
        "peer_versions": runs[peers[0]][0]["versions"],
        "corpus": {"name": name, "texts": len(texts), "sha256": hashlib.sha256("\0".join(texts).encode()).hexdigest()},
        "seconds": {side: common.summary([run["seconds"] for run in runs[side]]) for side in runs},
        "papers_per_second": {side: len(texts) / medians[side] for side in runs},
        "load_seconds": {side: common.summary([run["load_seconds"] for run in runs[side]]) for side in runs},
        "peak_mib": {side: max(run["peak_bytes"] for run in runs[side]) / 2**20 for side in runs},
        "speedup": {side: medians[side] / medians["offprint"] for side in peers},
        "agreement": runs[peers[0]][0]["agreement"],
        "padding_share": runs["offprint"][0]["padding_share"],
        "provider": runs["offprint"][0]["provider"],
        "cache": cache and dict(cache, speedup=cache["fill_seconds"] / cache["hit_seconds"]["median"]),
        "runs": runs,
    }
    print(f"\n{'side':34} {'papers/s':>9} {'ratio':>6} {'load s':>7} {'peak MiB':>9}")
    for side in runs:
        ratio = medians[side] / medians["offprint"]
        print(f"{side:34} {len(texts) / medians[side]:9.1f} {1 / ratio:6.2f} {result['load_seconds'][side]['median']:7.2f} {result['peak_mib'][side]:9.0f}")
    print(f"agreement: {result['agreement']}")
    if cache:
        print(f"all cache hits: {result['cache']['speedup']:.0f} x faster than computing")
    common.write_result(arguments.out or common.RESULTS / f"side-by-side-{Path(name).stem}.json", result)


if __name__ == "__main__":
    main()
