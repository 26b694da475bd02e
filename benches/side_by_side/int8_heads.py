"""What heads lose on int8 vectors: each is trained on the fp32 bundle and classifies with the int8 bundles.

Per labelled set: `offprint train` on the fp32 bundle's vectors of the split `train`, `offprint classify` of all rows with
every bundle, macro-F1 by scikit-learn on the split `test`. Exits with status 1 if a point that is bounded loses more than
`--most` points on any set.

    .venv-oracle/bin/python benches/side_by_side/int8_heads.py --data folder --bundles folder --out benches/results/int8-heads.json
"""

import argparse
import platform
import sys
import tempfile
from pathlib import Path

import sklearn
from sklearn.metrics import accuracy_score, f1_score

import common
from int8 import export

SETS = {
    "arxiv_cs_primary": [],
    "mag_paper_field_dev": [],
    "trec": ["--text-field", "text"],
    "scicite": ["--text-field", "text"],
    "ag_news_test7600": ["--title-field", "title", "--abstract-field", "text"],
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--sets", default=",".join(SETS), help=f"labelled sets (default {','.join(SETS)})")
    parser.add_argument("--points", default="default,fast", help="offprint's int8 points (default default,fast)")
    parser.add_argument("--bounded", default="default", help="points that may lose no more than --most (default default)")
    parser.add_argument("--most", type=float, default=0.2, help="points of macro-F1 (default 0.2)")
    parser.add_argument("--limit", type=int, default=None, help="rows of each set (default all)")
    parser.add_argument("--calibrate", action="append", default=[], help="papers for `offprint export --calibrate` (default: built-in texts)")
    parser.add_argument("--bundles", type=Path, default=None, help="keep bundles in this folder, and use those that are there")
    arguments = parser.parse_args()
    arguments.model = "minilm"
    if arguments.data is None:
        common.fail("no folder of labelled sets", "name it with `--data` or OFFPRINT_DATA")
    return arguments


def offprint(arguments, command, bundle, *rest):
    line = [arguments.program, command, "--model", bundle, "--threads", arguments.threads, "--json", "--allow-rejects", *rest]
    return common.run_measured(line + (["--limit", arguments.limit] if arguments.limit else []), arguments.threads)


def measure(arguments, name, bundles, folder):
    path = common.labelled_set(arguments.data, name)
    if path is None:
        common.fail(f"`{arguments.data}` has no set `{name}`", "name the sets with `--sets`")
    fields = SETS.get(name, []) + ["--cache-dir", folder / "cache"]
    head = folder / f"{name}.head"
    offprint(arguments, "train", bundles["fp32"], path, "--label", "label", "-o", head, *fields)
    rows = {str(row["id"]): row for row in common.read_rows(path)}
    found = {}
    for point, bundle in bundles.items():
        predictions = folder / f"{name}-{point}.jsonl"
        offprint(arguments, "classify", bundle, path, "--head", head, "-o", predictions, *fields)
        predicted = {row["id"]: row["label"] for row in common.read_rows(predictions)}
        held = [key for key in predicted if rows[key]["split"] == "test"]
        truth, given = [rows[key]["label"] for key in held], [predicted[key] for key in held]
        found[point] = {"rows": len(held), "accuracy": accuracy_score(truth, given), "f1_macro": f1_score(truth, given, average="macro")}
        found[point]["answers"] = given
    for point, figures in found.items():
        figures["f1_macro_points_below_fp32"] = (found["fp32"]["f1_macro"] - figures["f1_macro"]) * 100
        figures["answers_changed"] = sum(a != b for a, b in zip(found["fp32"]["answers"], figures["answers"]))
    for figures in found.values():
        del figures["answers"]
    return found


def main():
    arguments = parse()
    if not arguments.program.is_file():
        common.fail(f"`{arguments.program}` does not exist", "make build")
    result = {
        "what": "macro-F1 of logistic heads that were trained on fp32 vectors of MiniLM, on fp32 and on int8 vectors",
        "command": common.shown_command(),
        "machine": common.machine(),
        "offprint": common.program_version(arguments.program),
        "versions": {"python": platform.python_version(), "scikit-learn": sklearn.__version__},
        "sets": {},
    }
    worse = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        kept = arguments.bundles or folder / "bundles"
        kept.mkdir(parents=True, exist_ok=True)
        checkpoint = common.checkpoint(arguments)
        bundles = {point: export(arguments, checkpoint, kept, point)[0] for point in ["fp32", *arguments.points.split(",")]}
        print(f"{'set':22} {'test':>5}  " + "  ".join(f"{point:>20}" for point in bundles))
        for name in arguments.sets.split(","):
            found = result["sets"][name] = measure(arguments, name, bundles, folder)
            cells = [f"{figures['f1_macro']:.4f} (below {figures['f1_macro_points_below_fp32']:5.2f})" for figures in found.values()]
            print(f"{name:22} {found['fp32']['rows']:5}  " + "  ".join(f"{cell:>20}" for cell in cells), flush=True)
            worse += [f"{point} on {name}" for point in arguments.bounded.split(",") if found[point]["f1_macro_points_below_fp32"] > arguments.most]
    common.write_result(arguments.out or common.RESULTS / "int8-heads.json", result)
    if worse:
        print(f"error: more than {arguments.most} points of macro-F1 are lost by {', '.join(worse)}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
