"""The heads of `offprint train` against scikit-learn on real sets: the same choice of strength, coefficients, decision values.

    .venv-oracle/bin/python benches/heads/agreement.py --data folder --out benches/results/heads-agreement.json

Per set and kind: the strength is chosen by 5 folds (macro-F1; R² for numbers), which the corpus names (`--fold-field`),
so that both sides see the same ones; then both fit all train rows at the chosen strength, near the optimum
(`--tolerance` here, `tol` there, which computes in f64). Distances are the largest difference over the largest value of scikit-learn's; decision values are
those of the rows outside train. Two strengths within a thousandth of a score of each other are a tie.
"""

import argparse
import json
import platform
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import f1_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.svm import LinearSVC, LinearSVR

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "side_by_side"))
import common  # noqa: E402
from heads import read_head  # noqa: E402

# Set, field, and what else the corpus needs.
SETS = {
    "arxiv_cs_primary": ("label", []),
    "mag_paper_field_dev": ("label", []),
    "scicite": ("label", ["--text-field", "text"]),
    "acl_arc": ("label", ["--text-field", "text"]),
    "trec": ("label", ["--text-field", "text"]),
    "stance_regression": ("target", []),
}
C_GRID = [0.1, 1.0, 10.0, 100.0]
ALPHAS = [0.01, 0.1, 1.0, 10.0]
NET_ALPHAS = [0.0001, 0.001, 0.01]
TIE = 1e-3
# Of a kind whose default leaves more than the distances that are asked for.
TIGHT = {"logistic": ["--tolerance", "1e-6"], "svm": ["--tolerance", "1e-9"]}


def logistic(c, tight):
    return LogisticRegression(C=c, tol=1e-9 if tight else 1e-5, max_iter=20000)


def svm(c, tight):
    return LinearSVC(C=c, dual=False, tol=1e-9 if tight else 1e-5, max_iter=20000)


def svr(c, tight):
    return LinearSVR(C=c, loss="squared_epsilon_insensitive", dual=False, tol=1e-9 if tight else 1e-5, max_iter=20000)


def net(alpha, tight):
    return ElasticNet(alpha=alpha, tol=1e-10 if tight else 1e-7, max_iter=100000)


# Kind, the flag of its grid and the grid, further flags, scikit-learn's model.
OF_LABELS = [
    ("logistic", "--c-grid", C_GRID, [], logistic),
    ("svm", "--c-grid", C_GRID, [], svm),
    ("ridge", "--alpha-grid", ALPHAS, [], lambda alpha, _: RidgeClassifier(alpha=alpha)),
]
OF_NUMBERS = [
    ("ridge", "--alpha-grid", ALPHAS, [], lambda alpha, _: Ridge(alpha=alpha)),
    ("svm", "--c-grid", C_GRID, ["--loss", "squared-epsilon"], svr),
    ("elastic-net", "--alpha-grid", NET_ALPHAS, [], net),
]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--sets", default=",".join(SETS), help="labelled sets (default all)")
    parser.add_argument("--cache-dir", type=Path, help="where embeddings are kept (default a folder of this run)")
    arguments = parser.parse_args()
    if arguments.data is None:
        common.fail("no folder of labelled sets", "name it with `--data` or OFFPRINT_DATA")
    return arguments


def offprint(arguments, cache, command, *rest):
    line = [arguments.program, command, "--model", common.BUNDLE, "--threads", arguments.threads, "--json"]
    return common.run_measured(line + ["--cache-dir", cache, "--allow-rejects", *rest], arguments.threads)


def with_folds(rows, field, path):
    """Writes the set with a fold for each train row, and every other row in `test`."""
    train = [number for number, row in enumerate(rows) if row["split"] == "train"]
    truths = [rows[number][field] for number in train]
    splitter = (KFold if field == "target" else StratifiedKFold)(5, shuffle=True, random_state=0)
    for row in rows:
        row["split"] = "train" if row["split"] == "train" else "test"
    for fold, (_, validation) in enumerate(splitter.split(train, truths)):
        for place in validation:
            rows[train[place]]["fold"] = f"fold {fold}"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def chosen_by_peer(make, grid, vectors, truths, folds):
    """By strength the mean score of the folds."""
    score = r2_score if truths.dtype.kind == "f" else lambda truth, found: f1_score(truth, found, average="macro")
    means = []
    for strength in grid:
        scores = []
        for fold in np.unique(folds):
            out = folds == fold
            scores.append(score(truths[out], make(strength, False).fit(vectors[~out], truths[~out]).predict(vectors[out])))
        means.append(float(np.mean(scores)))
    return means


def compare(head, peer, vectors):
    coefficients, intercepts, labels = head
    peer_coefficients, peer_intercepts = np.atleast_2d(peer.coef_), np.atleast_1d(peer.intercept_)
    if hasattr(peer, "classes_") and len(labels) > 2:
        order = [labels.index(label) for label in peer.classes_]
        coefficients, intercepts = coefficients[order], intercepts[order]
    elif hasattr(peer, "classes_") and list(labels) != list(peer.classes_):
        coefficients, intercepts = -coefficients, -intercepts
    own, best = (vectors @ c.T + i for c, i in [(coefficients, intercepts), (peer_coefficients, peer_intercepts)])
    distance = lambda own, best: float(np.abs(own - best).max() / np.abs(best).max())  # noqa: E731
    return {"coefficients": distance(coefficients, peer_coefficients), "decision_values": distance(own, best)}


def measure(arguments, cache, name, folder):
    field, flags = SETS[name]
    path = common.labelled_set(arguments.data, name)
    if path is None:
        common.fail(f"`{arguments.data}` has no set `{name}`", "name the sets with `--sets`")
    corpus, npy = folder / f"{name}.jsonl", folder / f"{name}.npy"
    rows = list({str(row["id"]): row for row in common.read_rows(path)}.values())
    with_folds(rows, field, corpus)
    offprint(arguments, cache, "embed", corpus, "-o", npy, *flags)
    by_id = {str(row["id"]): row for row in rows}
    rows = [by_id[i] for i in npy.with_suffix(".ids.txt").read_text(encoding="utf-8").splitlines()]
    vectors = np.load(npy).astype("f8")
    truths = np.array([float(row[field]) if field == "target" else row[field] for row in rows])
    train = np.array([row["split"] == "train" for row in rows])
    folds = np.array([row["fold"] for row in rows if row["split"] == "train"])
    found = {"rows": {"train": int(train.sum()), "other": int((~train).sum())}, "kinds": {}}
    for kind, flag, grid, more, make in OF_NUMBERS if field == "target" else OF_LABELS:
        head = folder / "x.head"
        told, _, _ = offprint(
            arguments, cache, "train", corpus, "--label", field, "--kind", kind, f"{flag}={','.join(map(str, grid))}",
            "--fold-field", "fold", "-o", head, *more, *TIGHT.get(kind, []), *flags,
        )  # fmt: skip
        own = told["fit"]["selection"]
        means = chosen_by_peer(make, grid, vectors[train], truths[train], folds)
        strength = own["chosen"]
        best = grid[int(np.argmax(means))]
        peer = make(strength, True).fit(vectors[train], truths[train])
        found["kinds"][kind] = compare(read_head(head), peer, vectors[~train]) | {
            "grid": grid, "chosen": strength, "chosen_by_scikit-learn": best, "means_of_scikit-learn": means,
            "means": [point["mean"] for point in own["points"]],
            "same": bool(strength == best), "tie": bool(max(means) - means[grid.index(strength)] <= TIE),
        }  # fmt: skip
        one = found["kinds"][kind]
        print(
            f"{name:22} {kind:12} chosen {strength:g}, scikit-learn {best:g}{'' if one['same'] else ' (tie)' if one['tie'] else '  DIFFERENT'}"
            f"  coefficients {one['coefficients']:.1e}  decision values {one['decision_values']:.1e}",
            flush=True,
        )
    return found


def main():
    arguments = parse()
    common.prepare(arguments)
    warnings.simplefilter("ignore")
    result = {
        "what": "heads of offprint train against scikit-learn on MiniLM embeddings: choice of strength and distances at it",
        "command": common.shown_command(),
        "offprint": common.program_version(arguments.program),
        "peer_versions": {"python": platform.python_version(), "scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "machine": common.machine(),
        "sets": {},
    }
    out = arguments.out or common.RESULTS / "heads-agreement.json"
    with tempfile.TemporaryDirectory() as folder:
        cache = arguments.cache_dir or Path(folder) / "cache"
        for name in arguments.sets.split(","):
            result["sets"][name] = measure(arguments, cache, name, Path(folder))
            common.write_result(out, result)


if __name__ == "__main__":
    main()
