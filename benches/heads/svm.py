"""Linear support vectors against liblinear through scikit-learn: same rows, same objective, equal objective value.

    cargo bench --bench heads_svm --no-run        (says where the program is)
    python benches/heads/svm.py --program target/release/deps/heads_svm-... --out benches/results/heads-svm.json

For every problem scikit-learn runs at its own tolerance (`LinearSVC`, `LinearSVR`, its choice of the primal or the dual
solver, 1e-4). What it reaches is measured here, in f64 on the rows as they are. Ours runs at ever smaller duality gaps
until its objective, measured the same way, is no higher; that tolerance is then timed in alternation with
scikit-learn's fit, `--rounds` times. The medians count. Then the same with all cores; liblinear has one thread only.

Rows are unit-norm f32 of 384 numbers: three centres a class, variances falling as 1/j, a common mean, 4 % of the labels
random. Seconds are of the clock, and of the processor beside them: on a machine with other work the latter count.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import sklearn
from sklearn.svm import LinearSVC, LinearSVR

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from side_by_side import common  # noqa: E402

DIM = 384
TOLERANCES = [1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 1e-7, 1e-8]
# Rows, classes (0: numbers), loss, C, intercept.
PROBLEMS = [
    (2000, 2, "squared_hinge", 1.0, True),
    (2000, 19, "squared_hinge", 1.0, True),
    (2000, 0, "epsilon_insensitive", 1.0, True),
    (20000, 2, "squared_hinge", 1.0, True),
    (20000, 2, "hinge", 1.0, True),
    (20000, 2, "hinge", 1.0, False),
    (20000, 2, "squared_hinge", 100.0, True),
    (20000, 19, "squared_hinge", 1.0, True),
    (20000, 19, "hinge", 1.0, True),
    (20000, 0, "epsilon_insensitive", 1.0, True),
    (20000, 0, "squared_epsilon_insensitive", 1.0, True),
    (2000, 0, "epsilon_insensitive", 100.0, True),
    (20000, 2, "hinge", 100.0, True),
    (20000, 2, "hinge", 1000.0, True),
]


def rows_of(count, classes, seed=0):
    """Rows, and class numbers or numbers with noise."""
    random = np.random.default_rng(seed)
    centres = max(classes, 2) * 3
    spread = np.arange(1, DIM + 1) ** -0.5
    middle = random.normal(size=(centres, DIM)) * spread * 0.9
    common = random.normal(size=DIM) * spread
    labels = random.integers(0, max(classes, 2), count)
    part = labels * 3 + random.integers(0, 3, count)
    rows = np.empty((count, DIM), "<f4")
    for start in range(0, count, 10000):
        end = min(count, start + 10000)
        block = middle[part[start:end]] + common + random.normal(size=(end - start, DIM)) * spread
        rows[start:end] = block / np.linalg.norm(block, axis=1, keepdims=True)
    if classes == 0:
        return rows, rows.astype("f8") @ random.normal(size=DIM) * 3 + random.normal(size=count) * 0.5
    wrong = random.random(count) < 0.04
    labels[wrong] = random.integers(0, classes, int(wrong.sum()))
    return rows, labels


def objective(rows, targets, model, problem):
    """½|w|² + C·Σ loss, the intercept's weight penalised as liblinear does; of several columns their sum."""
    _, classes, loss, c, _ = problem
    coefficients, intercepts = model
    outputs = rows.astype("f8") @ coefficients.T + intercepts
    if classes == 0:
        missing = np.abs(targets[:, None] - outputs)
    else:
        columns = [1] if classes == 2 else range(classes)
        signs = np.where(targets[:, None] == np.array(list(columns)), 1.0, -1.0)
        missing = np.maximum(0, 1 - signs * outputs)
    if loss.startswith("squared"):
        missing = missing**2
    return 0.5 * ((coefficients**2).sum() + (intercepts**2).sum()) + c * missing.sum()


def scikit_learn(rows, targets, problem):
    _, classes, loss, c, intercept = problem
    kind = LinearSVR if classes == 0 else LinearSVC
    model = kind(C=c, loss=loss, fit_intercept=intercept, random_state=0, dual="auto")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start, busy = time.perf_counter(), time.process_time()
        model.fit(rows, targets)
        seconds = time.perf_counter() - start, time.process_time() - busy
    found = np.atleast_2d(model.coef_), np.broadcast_to(model.intercept_, len(np.atleast_2d(model.coef_)))
    return seconds, found, {"iterations": int(np.max(model.n_iter_)), "warned": [str(one.message) for one in caught]}


def ours(arguments, folder, problem, tolerance, threads):
    count, classes, loss, c, intercept = problem
    request = {
        "rows": str(folder / "rows"), "targets": str(folder / "targets"), "shape": [count, DIM], "classes": classes,
        "loss": loss, "c": c, "tolerance": tolerance, "fit_intercept": intercept, "out": str(folder / "out"),
        "threads": threads,
    }  # fmt: skip
    done = subprocess.run([arguments.program], input=json.dumps(request).encode(), capture_output=True)
    if done.returncode != 0:
        sys.exit(f"error: `{arguments.program}` ended with status {done.returncode}: {done.stderr.decode()}")
    said = json.loads(done.stdout)
    found = np.fromfile(folder / "out", "<f8")
    columns = len(found) // (DIM + 1)
    return (said["seconds"], said["cpu_seconds"]), (found[: columns * DIM].reshape(columns, DIM), found[columns * DIM :]), said["optimality"]


def measure(arguments, folder, problem):
    rows, targets = rows_of(*problem[:2])
    rows.tofile(folder / "rows")
    targets.astype("<f8").tofile(folder / "targets")
    _, model, about = scikit_learn(rows, targets, problem)
    theirs = objective(rows, targets, model, problem)
    for tolerance in TOLERANCES:
        _, model, optimality = ours(arguments, folder, problem, tolerance, 1)
        own = objective(rows, targets, model, problem)
        if own <= theirs:
            break
    # Sums of variables as large as C leave a linear loss no smaller gap that f64 could tell.
    closest = 1e-6 if problem[3] >= 100 and not problem[2].startswith("squared") else 1e-8
    _, best, certificate = ours(arguments, folder, problem, closest, 1)
    optimum = objective(rows, targets, best, problem)
    times = {"scikit-learn": [], "one thread": [], "all cores": []}
    for _ in range(arguments.rounds):
        times["scikit-learn"].append(scikit_learn(rows, targets, problem)[0])
        times["one thread"].append(ours(arguments, folder, problem, tolerance, 1)[0])
        times["all cores"].append(ours(arguments, folder, problem, tolerance, os.cpu_count())[0])
    middle = {name: statistics.median(wall for wall, _ in found) for name, found in times.items()}
    # What the fits had of the processor; on all cores one thread's share says nothing.
    busy = {name: statistics.median(cpu for _, cpu in times[name]) for name in ("scikit-learn", "one thread")}
    return {
        "problem": dict(zip(("rows", "classes", "loss", "c", "fit_intercept"), problem, strict=True)),
        "objective": {"scikit-learn": theirs, "ours": own, "optimum": optimum, "gap_of_optimum": certificate["reached"]},
        "above_optimum": {"scikit-learn": theirs / optimum - 1, "ours": own / optimum - 1},
        "tolerance": tolerance,
        "equal": bool(own <= theirs),
        "optimality": optimality,
        "scikit-learn": about,
        "wall_and_cpu_seconds": times,
        "median_seconds": middle,
        "median_cpu_seconds": busy,
        "times_faster": {name: middle["scikit-learn"] / middle[name] for name in ("one thread", "all cores")}
        | {"one thread, cpu": busy["scikit-learn"] / busy["one thread"]},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built `heads_svm`")
    parser.add_argument("--rounds", type=int, default=3, help="timed fits of each (default 3)")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the problems to run (default all)")
    parser.add_argument("--out", type=Path, help="where the result goes, as JSON")
    arguments = parser.parse_args()
    result = {
        "what": "linear support vectors against liblinear through scikit-learn, at equal objective value",
        "machine": common.machine(),
        "command": common.shown_command(),
        "peer_versions": {"python": platform.python_version(), "scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "problems": [],
    }  # fmt: skip
    print(f"{'rows':>6} {'classes':>7} {'loss':28} {'C':>5} {'gap':>7} {'sklearn':>8} {'1 thread':>8} {'all':>8}  times faster: 1 thread, all, 1 thread by CPU time")
    with tempfile.TemporaryDirectory() as folder:
        for number, problem in enumerate(PROBLEMS):
            if arguments.only is not None and number not in arguments.only:
                continue
            found = measure(arguments, Path(folder), problem)
            result["problems"].append(found)
            seconds, faster = found["median_seconds"], found["times_faster"]
            print(
                f"{problem[0]:6} {problem[1]:7} {problem[2]:28} {problem[3]:5g} {found['tolerance']:7.0e} "
                f"{seconds['scikit-learn']:8.3f} {seconds['one thread']:8.3f} {seconds['all cores']:8.3f}  "
                f"{faster['one thread']:.2f} {faster['all cores']:.2f} {faster['one thread, cpu']:.2f}{'' if found['equal'] else '  NOT EQUAL'}"
                f"  (above optimum: {found['above_optimum']['scikit-learn']:.1e}, {found['above_optimum']['ours']:.1e})",
                flush=True,
            )
            if arguments.out:
                arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
