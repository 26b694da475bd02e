"""Kills `offprint embed` at random moments, lets it finish, and compares with an undisturbed run.

    python benches/kill.py --corpus papers.jsonl --model BUNDLE --out benches/results/kill.json

Both runs see the same corpus with caches of their own; parts are closed every second. Reported: whether the outputs are
the same bytes, what the last run found in the cache, how many papers were computed beyond the corpus, whether the cache
verifies, and the largest anonymous memory that the undisturbed run was seen with. Exit 1 if a promise is broken.
"""

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def embed(program, corpus, model, folder):
    """The command; its cache and its output lie in `folder`."""
    output = folder / "x.parquet"
    return [program, "embed", "--model", model, str(corpus), "-o", str(output), "--cache-dir", str(folder / "cache"),
            "--part-seconds", "1", "--json"]


def anonymous_memory(pid):
    """Bytes, 0 once the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def watched(command):
    """Runs to the end; its account, its seconds and the largest anonymous memory seen."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_memory(process.pid))
        time.sleep(0.01)
    return json.loads(process.stdout.read()), time.monotonic() - start, peak


def rows_in(program, folder):
    stat = subprocess.run([program, "cache", "stat", "--json", "--cache-dir", str(folder / "cache")],
                          capture_output=True, text=True, check=True)
    return sum(space["rows"] for space in json.loads(stat.stdout)["spaces"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/offprint")
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as root:
        calm, killed = Path(root, "calm"), Path(root, "killed")
        calm.mkdir(), killed.mkdir()
        whole, seconds, peak = watched(embed(args.program, args.corpus, args.model, calm))
        kept = []
        for _ in range(args.kills):
            process = subprocess.Popen(embed(args.program, args.corpus, args.model, killed),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(random.uniform(0.2, max(2.5, 3 * seconds / args.kills)))
            process.kill()
            process.wait()
            kept.append(rows_in(args.program, killed))
        last, _, _ = watched(embed(args.program, args.corpus, args.model, killed))
        verify = subprocess.run([args.program, "cache", "verify", "--json", "--cache-dir", str(killed / "cache")],
                                capture_output=True, text=True)
        result = {
            "what": "runs killed at random moments against an undisturbed one",
            "command": "python benches/kill.py " + " ".join(
                [f"--corpus {args.corpus.name}", f"--kills {args.kills}", f"--seed {args.seed}"]),
            "system": f"{platform.system()} {platform.machine()}",
            "version": subprocess.run([args.program, "-V"], capture_output=True, text=True).stdout.strip(),
            "papers": whole["rows"],
            "undisturbed_seconds": seconds,
            "undisturbed_peak_anonymous_bytes": peak,
            "kills": args.kills,
            "rows_in_the_cache_after_each_kill": kept,
            "last_run": {name: last[name] for name in ("rows", "embedded", "cached", "rejected")},
            "same_bytes": (calm / "x.parquet").read_bytes() == (killed / "x.parquet").read_bytes(),
            "verify": json.loads(verify.stdout),
            "left_behind": sorted(path.name for path in killed.glob(".offprint-*")),
        }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    kept_its_word = result["same_bytes"] and last["cached"] > 0 and verify.returncode == 0 and not result["left_behind"]
    print(json.dumps({name: result[name] for name in ("same_bytes", "last_run", "left_behind")}))
    sys.exit(0 if kept_its_word else 1)


if __name__ == "__main__":
    main()
