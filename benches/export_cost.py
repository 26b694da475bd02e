"""What an export costs: CPU time and the largest anonymous memory of one command, its children counted apart.

    python benches/export_cost.py NAME -- COMMAND ...

Linux only. Samples /proc every 5 ms: `RssAnon` leaves out mapped files, which the system can take back at any time.
CPU time of a process is its own, without the children that it waited for (`offprint export` checks the graph in one).
"""

import json
import os
import pathlib
import subprocess
import sys
import time

TICK = os.sysconf("SC_CLK_TCK")


def sample(pid):
    """CPU seconds, anonymous MiB and the word after the program's name."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        anonymous = int(status.split("RssAnon:")[1].split()[0]) / 1024
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return (int(fields[11]) + int(fields[12])) / TICK, anonymous, b" ".join(words[:2]).decode()
    except (OSError, IndexError):
        return None


def children(pid):
    try:
        lists = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for text in lists for child in text.read_text().split()]
    except OSError:
        return []


def main():
    name, dashes, *command = sys.argv[1:]
    assert dashes == "--", __doc__
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = {}
    while process.poll() is None:
        for pid in [process.pid, *children(process.pid)]:
            if (now := sample(pid)) is not None:
                cpu, memory, words = found.get(pid, (0.0, 0.0, ""))
                found[pid] = (max(cpu, now[0]), max(memory, now[1]), now[2] or words)
        time.sleep(0.005)
    rows = [
        {"process": " ".join(pathlib.Path(word).name for word in words.split()), "cpu_s": cpu, "anonymous_mib": round(memory, 1)} for cpu, memory, words in found.values()
    ]
    wall = round(time.monotonic() - started, 2)
    print(json.dumps({"name": name, "exit": process.returncode, "wall_s": wall, "processes": rows}))


if __name__ == "__main__":
    main()
