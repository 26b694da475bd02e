"""Runs `offprint embed` for hours on papers of ever varying length, and watches its memory.

    python benches/soak.py --data folder --model models/all-minilm-l6-v2 --minutes 120 --out benches/results/soak.json

Texts are runs of sentences of real abstracts, of lengths from a few words to beyond the maximum length, no two alike;
the cache is on, so that parts are written and merged all along. After the given time the run is interrupted (SIGINT)
and has to end with status 130 and an account. Reported: anonymous memory by the minute (largest of the samples, taken
twice a second), rows, and the growth from the minutes 10 to 20 to the last ten. Exit 1 if that is more than 5 % and
96 bytes a row.
"""

import argparse
import gzip
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kill import anonymous_memory
from side_by_side import common


def sentences_of(data):
    """Sentences of the abstracts of all sets that have some."""
    found = []
    for path in sorted(data.glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                abstract = json.loads(line).get("abstract") or ""
                found.extend(part.strip() for part in abstract.split(". ") if part.strip())
    return found


def write_corpus(path, sentences, rows, seed):
    """Rows whose numbers of sentences are log-normal: median 6, a tail beyond any maximum length."""
    dice = random.Random(seed)
    with path.open("w", encoding="utf-8") as out:
        for number in range(rows):
            count = max(1, min(60, round(dice.lognormvariate(1.8, 0.9))))
            abstract = ". ".join(dice.choices(sentences, k=count))
            out.write(json.dumps({"id": str(number), "title": f"Paper {number}", "abstract": abstract}) + "\n")


def watch(process, minutes):
    """Samples until the time is over or the process has ended: one entry a minute, and the seconds it took."""
    start, curve = time.monotonic(), []
    while process.poll() is None and time.monotonic() - start < minutes * 60:
        minute = int((time.monotonic() - start) / 60)
        while len(curve) <= minute:
            curve.append(0)
        curve[minute] = max(curve[minute], anonymous_memory(process.pid))
        time.sleep(0.5)
    return curve, time.monotonic() - start


def mean(values):
    return sum(values) / max(1, len(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/offprint")
    parser.add_argument("--data", required=True, type=Path, help="folder of labelled sets")
    parser.add_argument("--model", required=True)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=400_000, help="more than the time allows (default 400,000)")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_corpus(folder / "corpus.jsonl", sentences_of(arguments.data), arguments.rows, seed=17)
        command = [arguments.program, "embed", "--model", arguments.model, str(folder / "corpus.jsonl"), "--json",
                   "--threads", str(arguments.threads), "--cache-dir", str(folder / "cache")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        curve, seconds = watch(process, arguments.minutes)
        process.send_signal(signal.SIGINT)
        account = json.loads(process.communicate()[0])
    early, late = mean(curve[10:20]), mean(curve[-11:-1])
    allowed = early * 1.05 + 96 * account["rows"]
    result = {
        "what": "anonymous memory of a long run on texts of varying length",
        "machine": common.machine(),
        "offprint": common.program_version(arguments.program),
        "minutes": seconds / 60,
        "threads": arguments.threads,
        "status": process.returncode,
        "account": account,
        "mib_minutes_10_to_20": early / 2**20,
        "mib_last_10_minutes": late / 2**20,
        "mib_by_minute": [round(value / 2**20, 1) for value in curve],
        "flat": process.returncode == 130 and 0 < late <= allowed,
    }
    text = json.dumps(result, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)
    sys.exit(0 if result["flat"] else 1)


if __name__ == "__main__":
    main()
