#!/bin/sh
# Makes .venv-oracle with what requirements.txt beside this file pins. A second run with the same pins does nothing.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
stamp=.venv-oracle/.offprint-setup
pins=export/oracle/requirements.txt

if [ -f "$stamp" ] && cmp -s "$stamp" "$pins"; then
    exit 0
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    printf 'error: the comparisons need Python 3.11 or newer\n  hint: make oracle-venv PYTHON=python3.12\n' >&2
    exit 2
fi
if ! "$python" -m venv .venv-oracle; then
    printf 'error: making .venv-oracle failed\n  hint: apt-get install -y python3-venv\n' >&2
    exit 2
fi
echo "fetching torch, transformers and others into .venv-oracle (several GB on Linux, once)" >&2
.venv-oracle/bin/python -m pip install --disable-pip-version-check --quiet -r "$pins"
cp "$pins" "$stamp"
