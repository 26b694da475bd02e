"""offprint's heads against scikit-learn's LogisticRegression: same embeddings, same C, same rows.

Per labelled set: `offprint train` and `classify` on one side, LogisticRegression on `offprint embed`'s vectors on the
other, both fitted on the split `train` and measured on `test`. A second scikit-learn fit at a tight tolerance in f64
says how far the coefficients are from the optimum.

    .venv-oracle/bin/python benches/side_by_side/heads.py --data folder
"""

import argparse
import json
import platform
import tempfile
import time
import warnings
from pathlib import Path

import numpy
import sklearn
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

import common

SETS = {"arxiv_cs_primary": [], "mag_paper_field_dev": [], "trec": ["--text-field", "text"]}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--sets", default=",".join(SETS), help=f"labelled sets (default {','.join(SETS)})")
    parser.add_argument("--c", type=float, default=1.0, help="inverse strength of the penalty (default 1)")
    arguments = parser.parse_args()
    if arguments.data is None:
        common.fail("no folder of labelled sets", "name it with `--data` or OFFPRINT_DATA")
    return arguments


def offprint(arguments, command, *rest):
    line = [arguments.program, command, "--model", common.BUNDLE, "--threads", arguments.threads, "--json", *rest]
    return common.run_measured(line, arguments.threads)


def read_head(path):
    """Coefficients and intercepts of a head file, and the labels in the order of its rows."""
    with safe_open(path, framework="numpy") as head:
        tensors = {name: head.get_tensor(name) for name in head.keys()}
        metadata = head.metadata()
    labels = json.loads(metadata["labels"]) if "labels" in metadata else None
    return tensors["coefficients"].astype(numpy.float64), tensors["intercepts"].astype(numpy.float64), labels


def fit(rows, labels, c, tight):
    """A scikit-learn fit and its seconds: as users run it, or near the optimum."""
    model = LogisticRegression(C=c, solver="newton-cholesky", max_iter=1000, tol=1e-12) if tight else LogisticRegression(C=c, max_iter=1000)
    start = time.perf_counter()
    with warnings.catch_warnings():
        # At this tolerance the line search may stop for lack of digits: as near as f64 gets.
        warnings.simplefilter("ignore")
        model.fit(rows.astype(numpy.float64) if tight else rows, labels)
    return model, time.perf_counter() - start


def distances(head, tight):
    """Largest difference of a coefficient, and of an intercept, from the optimum, relative to the largest of its kind;
    None for other labels."""
    coefficients, intercepts, labels = head
    if labels is None or set(labels) != set(tight.classes_) or coefficients.shape != tight.coef_.shape:
        return None, None
    order = [labels.index(label) for label in tight.classes_] if len(labels) > 2 else [0]
    sign = 1.0 if len(labels) > 2 or list(labels) == list(tight.classes_) else -1.0
    pairs = [(coefficients[order], tight.coef_), (intercepts[order], tight.intercept_)]
    return tuple(float(numpy.abs(own * sign - best).max() / numpy.abs(best).max()) for own, best in pairs)


def figures(truth, predicted):
    return {"accuracy": accuracy_score(truth, predicted), "f1_macro": f1_score(truth, predicted, average="macro")}


def measure(arguments, name, folder):
    path = common.labelled_set(arguments.data, name)
    if path is None:
        common.fail(f"`{arguments.data}` has no set `{name}`", "name the sets with `--sets`")
    fields = SETS.get(name, []) + ["--cache-dir", folder / "cache", "--allow-rejects"]
    vectors, head, predictions = folder / f"{name}.npy", folder / f"{name}.head", folder / f"{name}.jsonl"
    offprint(arguments, "embed", path, "-o", vectors, *fields)
    start = time.perf_counter()
    offprint(arguments, "train", path, "--label", "label", "--c", arguments.c, "-o", head, *fields)
    train_seconds = time.perf_counter() - start
    offprint(arguments, "classify", path, "--head", head, "-o", predictions, *fields)

    by_id = {str(row["id"]): row for row in common.read_rows(path)}
    ids = vectors.with_suffix(".ids.txt").read_text(encoding="utf-8").splitlines()
    rows = numpy.load(vectors)
    labels = numpy.array([by_id[i]["label"] for i in ids])
    split = numpy.array([by_id[i]["split"] for i in ids])
    train, test = split == "train", split == "test"
    predicted = {row["id"]: row["label"] for row in common.read_rows(predictions)}
    own = figures(labels[test], [predicted[i] for i, held in zip(ids, test) if held])

    usual, usual_seconds = fit(rows[train], labels[train], arguments.c, tight=False)
    tight, _ = fit(rows[train], labels[train], arguments.c, tight=True)
    peer = figures(labels[test], usual.predict(rows[test]))
    coefficients, intercepts = distances(read_head(head), tight)
    return {
        "rows": {"train": int(train.sum()), "test": int(test.sum()), "classes": len(usual.classes_)},
        "offprint": dict(own, train_seconds_all_cached=train_seconds),
        "scikit-learn": dict(peer, fit_seconds=usual_seconds, iterations=int(usual.n_iter_.max())),
        "scikit-learn tight": figures(labels[test], tight.predict(rows[test])),
        "f1_macro_points_below": (peer["f1_macro"] - own["f1_macro"]) * 100,
        "coefficient_distance": coefficients,
        "intercept_distance": intercepts,
        "coefficient_distance_of_usual_fit": float(numpy.abs(usual.coef_ - tight.coef_).max() / numpy.abs(tight.coef_).max()),
    }


def main():
    arguments = parse()
    common.prepare(arguments)
    result = {
        "what": "offprint's logistic head against scikit-learn's LogisticRegression on the same MiniLM embeddings",
        "command": common.shown_command(),
        "machine": common.machine(),
        "threads": arguments.threads,
        "c": arguments.c,
        "offprint": common.program_version(arguments.program),
        "peer_versions": {"python": platform.python_version(), "scikit-learn": sklearn.__version__, "numpy": numpy.__version__},
        "sets": {},
    }
    print(f"{'set':22} {'train':>6} {'test':>5}  {'f1 offprint':>11} {'f1 sklearn':>10} {'below':>6}  coefficients")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.sets.split(","):
            found = result["sets"][name] = measure(arguments, name, Path(folder))
            rows, distance = found["rows"], found["coefficient_distance"]
            print(
                f"{name:22} {rows['train']:6} {rows['test']:5}  {found['offprint']['f1_macro']:11.4f} {found['scikit-learn']['f1_macro']:10.4f} "
                f"{found['f1_macro_points_below']:6.2f}  {'-' if distance is None else f'{distance:.1e}'}",
                flush=True,
            )
    common.write_result(arguments.out or common.RESULTS / "heads.json", result)


if __name__ == "__main__":
    main()
