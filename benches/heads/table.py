"""The honest table: MiniLM and each kind of head on every labelled set, beside TF-IDF, with 95 % bootstrap intervals.

    python benches/heads/table.py --data folder --out benches/results/heads-table.json

Every figure is that of rows which nothing was fitted or chosen on: the strength is chosen on the set's dev rows, or by
cross-validation on its train rows, and the figures are read from the head file that `offprint train` wrote. Vectors come
from a cache that all runs share, so a set is embedded once. The TF-IDF anchors (1-2 grams, scikit-learn) are those that
the sets' README gives for the same splits.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from side_by_side import common  # noqa: E402

LABELS = ["logistic", "svm", "ridge", "knn"]
NUMBERS = ["ridge", "svm", "elastic-net", "knn"]
TEXT = ["--text-field", "text"]

# Set, file, field, what else the corpus needs, objective, part that is read, and the anchors with their figures.
SETS = [
    ("arxiv_cs_primary", "arxiv_cs_primary", "label", [], "f1_macro", "test", {"f1_macro": 0.753, "accuracy": 0.786}),
    ("mag_paper_field_dev", "mag_paper_field_dev", "label", [], "f1_macro", "test", {"f1_macro": 0.578}),
    ("scicite", "scicite", "label", TEXT, "f1_macro", "test", {"f1_macro": 0.806}),
    ("acl_arc", "acl_arc", "label", TEXT, "f1_macro", "test", {"f1_macro": 0.609}),
    ("trec, 6 classes", "trec", "label", TEXT, "accuracy", "test", {"accuracy": 0.896}),
    ("trec, 50 classes", "trec", "label_fine", TEXT, "accuracy", "test", {"accuracy": 0.800}),
    ("sst2", "sst/sst2", "label", TEXT, "accuracy", "test", {"accuracy": 0.807}),
    ("sst5", "sst/sst5", "label", TEXT, "accuracy", "test", {"accuracy": 0.409}),
    ("ag_news_test7600", "ag_news_test7600", "label", ["--abstract-field", "text"], "accuracy", "test", {"accuracy": 0.863}),
    ("cset_arxiv_dev, ai", "cset_arxiv_dev", "label", [], "f1_macro", "test", {"f1_macro": 0.868}),
    ("asreview, same sources", "asreview_screening", "label", [], "average_precision", "test", {"average_precision": 0.398}),
    ("asreview, held-out sources", "asreview_screening", "label", [], "average_precision", "test_group", {"average_precision": 0.128}),
    ("hoc", "hoc", "labels", [], "f1_macro", "test", {"f1_micro": 0.679, "f1_macro": 0.652}),
    ("goemotions", "goemotions", "labels", TEXT, "f1_macro", "test", {"f1_micro": 0.546, "f1_macro": 0.404}),
    ("arxiv_cs_multilabel", "arxiv_cs_multilabel", "labels", [], "f1_macro", "test", {"f1_micro": 0.719, "f1_macro": 0.241}),
    ("stance_regression", "stance_regression", "target", [], "spearman", "test", {"spearman": 0.729, "rmse": 0.490}),
    ("cset_arxiv_dev, year", "cset_arxiv_dev", "target", [], "spearman", "test", {"spearman": 0.283}),
]

GRIDS = {"logistic": ["--c-grid"], "svm": ["--c-grid"], "ridge": ["--alpha-grid"], "elastic-net": ["--alpha-grid"], "knn": ["--neighbours-grid"]}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--sets", help="only the sets whose names begin so, comma-separated")
    parser.add_argument("--cache-dir", type=Path, help="where vectors are kept (default: the program's)")
    return parser.parse_args()


def corpus(data, name):
    folder, _, stem = name.partition("/")
    files = sorted(Path(data, folder).glob(f"{stem or '*'}.jsonl.gz"))
    return files[0] if files else None


def metadata(head):
    """The strings that a head file carries."""
    with open(head, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))["__metadata__"]


def train(arguments, row, kind, head):
    """One head: the figures of the part that counts, the chosen strength and the seconds."""
    _, name, field, flags, objective, part, _ = row
    multilabel = field == "labels"
    command = [arguments.program, "train", "--model", common.BUNDLE, corpus(arguments.data, name), "--label", field, "-o", head, *flags]
    command += ["--kind", kind, *GRIDS[kind], "--objective", objective, "--allow-rejects", "--threads", arguments.threads, "--json"]
    command += ["--thresholds", "f1"] if multilabel else []
    command += ["--task", "regression"] if field == "target" else []
    command += ["--cache-dir", arguments.cache_dir] if arguments.cache_dir else []
    started = time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"failed": done.stderr.strip().splitlines()[-3:]}
    kept = metadata(head)
    figures = next(entry for entry in json.loads(kept["metrics"]) if entry["part"] == part)
    return {
        "rows": figures["rows"],
        "figures": {figure["objective"]: {key: figure[key] for key in ("value", "low", "high")} for figure in figures["figures"]},
        "head": {key: kept[key] for key in ("kind", "c", "strength", "thresholds") if key in kept and len(kept[key]) < 200},
        "seconds": time.perf_counter() - started,
    }


def shown(row, heads):
    """One line for people: the anchor, and each head's figure of the same name."""
    name, _, _, _, _, _, anchors = row
    metric = next(iter(anchors))
    cells = []
    for kind, found in heads.items():
        figure = found.get("figures", {}).get(metric)
        cells.append(f"{kind} {figure['value']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})" if figure else f"{kind} –")
    return f"{name}: {metric}: TF-IDF {anchors[metric]:.3f}; " + "; ".join(cells)


def main():
    arguments = parse()
    if not arguments.data:
        common.fail("no labelled sets", "name their folder with `--data`")
    common.prepare(arguments)
    wanted = tuple(arguments.sets.split(",")) if arguments.sets else ("",)
    results, absent = [], []
    with tempfile.TemporaryDirectory() as folder:
        for row in SETS:
            name, file = row[0], corpus(arguments.data, row[1])
            if not name.startswith(wanted):
                continue
            if file is None:
                absent.append(name)
                continue
            kinds = NUMBERS if row[2] == "target" else LABELS
            heads = {kind: train(arguments, row, kind, Path(folder, "x.head")) for kind in kinds}
            results.append({"set": name, "part": row[5], "objective": row[4], "tf_idf": row[6], "heads": heads})
            print(shown(row, heads), flush=True)
    result = {
        "what": "MiniLM embeddings with each kind of head, figures of rows that were not seen, 95 % bootstrap intervals",
        "command": common.shown_command(),
        "offprint": common.program_version(arguments.program),
        "machine": common.machine(),
        "sets": results,
        "absent": absent,
    }
    out = arguments.out or common.RESULTS / "heads-table.json"
    common.write_result(out, result)
    return 1 if any("failed" in head for found in results for head in found["heads"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
