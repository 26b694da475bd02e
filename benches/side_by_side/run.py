"""offprint against its peers: same texts, same weights, fp32, same number of threads, same maximum length.

First each peer's best batch size is searched on some of the texts. Then every repeat runs each side once, in a process
of its own, offprint on the CPU provider and, where its library is named, on OpenVINO, the peers at their default batch size
and at their best; the order turns around with every repeat. A peer is compared with offprint's faster provider. Peers'
seconds are those of a warmed-up encode on texts in memory; offprint's are those of the whole run, from reading the
corpus over opening the model to the finished file. Ratios are taken within a repeat; the interval is Student's 95 % of
their logarithms. Writes one JSON object with all raw runs, and prints the table of the README.

    make bench-side-by-side DATA=folder
    .venv-oracle/bin/python benches/side_by_side/run.py --data folder --limit 600 --peers fastembed,optimum
    .venv-oracle/bin/python benches/side_by_side/run.py --data folder --model bert-base --limit 60 --openvino library
"""

import argparse
import hashlib
import math
import statistics
import tempfile
from pathlib import Path

import common

# Longest input in tokens; bert-base is of that size with random weights and pools the first token's states.
MODELS = {"minilm": 256, "bert-base": 512}
OWN = "offprint"
# By peer: where it is installed, which exported model it loads, and the batch size it has unless told otherwise.
# optimum itself has no loop; 1 is the default of the pipelines that its documentation builds on.
PEERS = {
    "sentence-transformers": (".venv-oracle", None, 32),
    "sentence-transformers onnx": (".venv-peers/optimum", "onnx", 32),
    "sentence-transformers openvino": (".venv-peers/openvino", "openvino", 32),
    "fastembed": (".venv-peers/fastembed", "onnx", 256),
    "optimum": (".venv-peers/optimum", "onnx", 1),
}
# Who writes the exported models.
EXPORTERS = {"onnx": "sentence-transformers onnx", "openvino": "sentence-transformers openvino"}
SIZES = [1, 2, 4, 8, 16, 32, 64]
# Two-sided 95 % points of Student's distribution, by degrees of freedom.
STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--model", choices=MODELS, default="minilm", help="bert-base has random weights and CLS pooling (default minilm)")
    parser.add_argument("--openvino", type=Path, default=None, help="library of onnxruntime-openvino, to run offprint on it as well")
    parser.add_argument("--set", default="arxiv_cs_primary", help="labelled set (default arxiv_cs_primary); without --data the sample papers")
    parser.add_argument("--limit", type=int, default=600, help="texts at most; 0 = all (default 600)")
    parser.add_argument("--repeats", type=int, default=5, choices=range(2, 11), metavar="2..10")
    parser.add_argument("--peers", default=",".join(PEERS), help="which of them, comma-separated (default all)")
    parser.add_argument("--probe", type=int, default=100, help="texts on which a peer's best batch size is searched (default 100)")
    parser.add_argument("--venvs", type=Path, default=common.ROOT, help="folder that holds .venv-oracle and .venv-peers (default: the project's)")
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


def run_offprint(arguments, bundle, corpus, out, *flags):
    command = [arguments.program, "embed", "--model", bundle, "--text-field", "text", corpus, "-o", out]
    command += ["--threads", arguments.threads, "--json", *(flags or ["--no-cache"])]
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


def own_sides(arguments):
    """Flags of offprint's runs, by the name of the side."""
    sides = {OWN: ["--no-cache"]}
    if arguments.openvino:
        sides[f"{OWN} openvino"] = ["--no-cache", "--provider", "openvino", "--ort-lib", arguments.openvino]
    return sides


class Peers:
    """Starts workers, each with the Python and the model that its peer needs."""

    def __init__(self, arguments, checkpoint, folder):
        self.arguments, self.checkpoint, self.folder = arguments, checkpoint, folder
        self.names = arguments.peers.split(",")
        for name in self.names:
            if name not in PEERS:
                common.fail(f"there is no peer `{name}`", f"known are {', '.join(PEERS)}")
            if not self.python(name).is_file():
                common.fail(f"`{self.python(name)}` does not exist", "make oracle-venv")
        for kind in {PEERS[name][1] for name in self.names} - {None}:
            self.work(EXPORTERS[kind], checkpoint, "--prepare", folder / kind)

    def python(self, name):
        return self.arguments.venvs / PEERS[name][0] / "bin" / "python"

    def work(self, name, model, *rest):
        command = [self.python(name), Path(__file__).resolve().parent / "worker.py", "--peer", name, "--model", model]
        command += ["--threads", self.arguments.threads, "--max-length", MODELS[self.arguments.model]]
        return common.run_measured([*command, *rest], self.arguments.threads)

    def encode(self, name, corpus, sizes, *rest):
        """The worker's answer, with the wall time of its process."""
        kind = PEERS[name][1]
        model = self.folder / kind if kind else self.checkpoint
        sizes = ",".join(str(size) for size in sizes)
        result, wall, _ = self.work(name, model, "--corpus", corpus, "--batch-sizes", sizes, *rest)
        return dict(result, wall_seconds=wall)

    def best_size(self, name, corpus):
        """Each size three times in turn; the one with the least median, and all seconds."""
        trials = [self.encode(name, corpus, SIZES, "--limit", self.arguments.probe)["seconds"] for _ in range(3)]
        seconds = {size: statistics.median(trial[str(size)] for trial in trials) for size in SIZES}
        best = min(SIZES, key=seconds.get)
        print(f"  {name}: best batch size {best}", flush=True)
        return best, seconds


def make_base(arguments, checkpoint, folder):
    """A checkpoint of BERT-base size with CLS pooling, and its bundle."""
    worker = [arguments.venvs / PEERS["sentence-transformers"][0] / "bin" / "python", Path(__file__).resolve().parent / "worker.py"]
    common.run_measured([*worker, "--model", checkpoint, "--make-base", folder / "base", "--first"], arguments.threads)
    made, bundle = folder / "base" / "model", folder / "bundle"
    export = [arguments.program, "export", "--model", made, "-o", bundle, "--max-length", MODELS[arguments.model], "--json"]
    common.run_measured(export, arguments.threads)
    return made, bundle


def interleave(arguments, bundle, peers, corpus, sides):
    """All runs by side; the order turns around with every repeat."""
    own = own_sides(arguments)
    runs = {label: [] for label in [*own, *sides]}
    vectors = peers.folder / "vectors.npy"
    for repeat in range(arguments.repeats):
        # The first repeat starts with offprint, so that its vectors are there to compare with.
        for label in runs if repeat % 2 == 0 else reversed(runs):
            if label in own:
                out = vectors if label == OWN else peers.folder / "others.npy"
                run = run_offprint(arguments, bundle, corpus, out, *own[label])
                if repeat == 0 and label != OWN:
                    run["agreement"] = peers.work(peers.names[0], "-", "--agree", out, "--compare", vectors)[0]
            else:
                name, size = sides[label]
                run = peers.encode(name, corpus, [size], *(["--compare", vectors] if repeat == 0 else []))
                run["seconds"] = run["seconds"][str(size)]
            runs[label].append(run)
            print(f"  repeat {repeat + 1}: {label}: {run['seconds']:.2f} s", flush=True)
    return runs


def ratio(own, other):
    """How many times the other's seconds ours are: geometric mean over the repeats, with its 95 % interval."""
    logs = [math.log(b / a) for a, b in zip(own, other)]
    center, spread = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    half = STUDENT[len(logs) - 1] * spread
    return {"ratio": math.exp(center), "low": math.exp(center - half), "high": math.exp(center + half)}


def all_hits(arguments, bundle, corpus, folder):
    """Seconds to fill a cache, then of runs that find everything in it (`wall`: with the start of the process)."""
    cache, out = folder / "cache", folder / "cached.npy"
    fill = run_offprint(arguments, bundle, corpus, out, "--cache-dir", cache)
    hits = [run_offprint(arguments, bundle, corpus, out, "--cache-dir", cache) for _ in range(5)]
    if any(hit["cached"] != hit["rows"] for hit in hits):
        common.fail("a run after filling the cache still computed something", "look at `offprint cache stat`")
    median = statistics.median(hit["seconds"] for hit in hits)
    return {
        "fill_seconds": fill["seconds"],
        "hit_seconds": common.summary([hit["seconds"] for hit in hits]),
        "hit_wall_seconds": common.summary([hit["wall_seconds"] for hit in hits]),
        "speedup": fill["seconds"] / median,
    }


def side_summary(label, runs, texts):
    """What the table has of one side; the peers' with the faster of offprint's."""
    own = {name: [run["seconds"] for run in runs[name]] for name in runs if name.startswith(OWN)}
    fastest = min(own, key=lambda name: statistics.median(own[name]))
    seconds = [run["seconds"] for run in runs[label]]
    first = runs[label][0]
    found = {
        "seconds": common.summary(seconds),
        "papers_per_second": texts / statistics.median(seconds),
        "load_seconds": statistics.median(run["load_seconds"] for run in runs[label]),
        "peak_mib": max(run["peak_bytes"] for run in runs[label]) / 2**20,
    }
    if label not in own:
        found.update(offprint_is_faster_by=ratio(own[fastest], seconds), compared_with=fastest, versions=first["versions"])
    if "agreement" in first:
        found.update(agreement=first["agreement"])
    return found


def table(sides):
    """Markdown, fastest last: what the README shows."""
    lines = ["| side | batch | papers/s | offprint is faster by (95 %) | peak memory | largest difference |", "|---|---|---|---|---|---|"]
    for label, side in sorted(sides.items(), key=lambda entry: entry[1]["papers_per_second"]):
        name, _, size = label.partition(" at ")
        by = side.get("offprint_is_faster_by")
        faster = ""
        if by:
            clear = "" if by["low"] > 1 or by["high"] < 1 else " (not clear)"
            faster = f"{by['ratio']:.2f} × ({by['low']:.2f}–{by['high']:.2f}){clear}"
        difference = f"{side['agreement']['max_abs_difference']:.0e}" if "agreement" in side else ""
        lines.append(f"| {name} | {size} | {side['papers_per_second']:.1f} | {faster} | {side['peak_mib']:,.0f} MiB | {difference} |")
    return lines


def main():
    arguments = parse()
    checkpoint = common.prepare(arguments)
    name, texts = texts_of(arguments)
    machine = common.machine()
    print(f"{len(texts)} texts of {name}, {arguments.threads} threads, {arguments.repeats} repeats")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        corpus = folder / "corpus.jsonl"
        common.write_corpus(corpus, texts)
        bundle = common.BUNDLE
        if arguments.model == "bert-base":
            checkpoint, bundle = make_base(arguments, checkpoint, folder)
        peers = Peers(arguments, checkpoint, folder)
        searched = {peer: peers.best_size(peer, corpus) for peer in peers.names}
        sides = {}
        for peer, (best, _) in searched.items():
            default = PEERS[peer][2]
            sides[f"{peer} at {default} (default)"] = (peer, default)
            if best != default:
                sides[f"{peer} at {best} (best)"] = (peer, best)
        runs = interleave(arguments, bundle, peers, corpus, sides)
        cache = all_hits(arguments, bundle, corpus, folder)

    summaries = {label: side_summary(label, runs, len(texts)) for label in runs}
    result = {
        "what": f"texts to vectors, fp32, {arguments.model}: offprint and its peers",
        "command": common.shown_command(),
        "machine": machine,
        "threads": arguments.threads,
        "model": arguments.model,
        "max_length": MODELS[arguments.model],
        "offprint": common.program_version(arguments.program),
        "corpus": {"name": name, "texts": len(texts), "sha256": hashlib.sha256("\0".join(texts).encode()).hexdigest()},
        "batch_size_search": {peer: {"texts": arguments.probe, "best": best, "median_seconds": seconds} for peer, (best, seconds) in searched.items()},
        "sides": summaries,
        "padding_share": runs[OWN][0]["padding_share"],
        "provider": runs[OWN][0]["provider"],
        "cache": cache,
        "runs": runs,
    }
    print("\n" + "\n".join(table(summaries)))
    print(f"all cache hits: {cache['speedup']:.0f} x faster than computing")
    common.write_result(arguments.out or common.RESULTS / f"side-by-side-{arguments.model}-{Path(name).stem}.json", result)


if __name__ == "__main__":
    main()
