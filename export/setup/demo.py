"""Papers in, labels out, with real weights: exports MiniLM, trains a head on the sample papers, classifies the rest.

Called by `make demo` after the release build and `make venv`; needs nothing but the standard library. Every step is a
command of offprint, printed before it runs, so that it can be repeated by hand.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import setup

ROOT = setup.ROOT
RECIPE = Path("models/all-minilm-l6-v2.toml")
BUNDLE = Path("models/all-minilm-l6-v2")
PAPERS = Path("examples/papers.jsonl")
DEMO = Path("demo")
UNSEEN = Path("examples/new-papers.jsonl")
HEAD = DEMO / "field.head"
PREDICTIONS = DEMO / "predictions.jsonl"
REPORT = DEMO / "report"
CACHE = DEMO / "cache"


def step(what, program, arguments):
    """Says what comes, shows the command, runs it; a failure ends the demo."""
    command = [str(part) for part in arguments]
    print(f"\n== {what}\n   $ offprint {' '.join(command)}", flush=True)
    status = subprocess.run([program] + command, cwd=ROOT).returncode
    if status != 0:
        print(f"error: `offprint {command[0]}` ended with status {status}", file=sys.stderr)
        sys.exit(2)


def read_rows(path):
    with open(ROOT / path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, type=Path, help="the offprint executable")
    program = str(parser.parse_args().program.resolve())
    checkpoint = setup.MAIN.find("minilm")
    if checkpoint is None or setup.MAIN.find("runtime") is None:
        print("error: `.venv` is not complete\n  hint: make venv", file=sys.stderr)
        sys.exit(2)
    os.environ.setdefault("ORT_DYLIB_PATH", str(setup.MAIN.find("runtime")))
    (ROOT / DEMO).mkdir(exist_ok=True)
    unseen = len(read_rows(UNSEEN))

    source = checkpoint.relative_to(ROOT)
    step("export the checkpoint to a bundle", program, ["export", "--model", source, "--recipe", RECIPE, "-o", BUNDLE])
    common = ["--model", BUNDLE, "--cache-dir", CACHE]
    train = ["train", *common, "--label", "field", PAPERS, "-o", HEAD, "--report", REPORT]
    step("embed the sample papers and train a head on them", program, train)
    classify = ["classify", *common, "--head", HEAD, "--keep", "title,field", UNSEEN, "-o", PREDICTIONS]
    step(f"classify {unseen} papers that training did not see", program, classify + ["--label", "field", "--show", unseen])

    rows = read_rows(PREDICTIONS)
    right = sum(row["label"] == row["field"] for row in rows)
    print(f"\naccuracy:    {right / len(rows):.3f} ({right} of {len(rows)} papers that training did not see)")
    print(f"predictions: {PREDICTIONS}\nreport:      {REPORT / 'report.html'}")


if __name__ == "__main__":
    main()
