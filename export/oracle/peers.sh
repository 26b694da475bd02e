#!/bin/sh
# Makes .venv-peers/<name> for every pin file in peers/, on top of .venv-oracle: these packages ask for versions of
# transformers that exclude each other, and torch need not be there four times. A second run does nothing.
set -eu
cd "$(dirname "$0")/../.."
oracle=.venv-oracle/bin/python
site=$("$oracle" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

for pins in export/oracle/peers/*.txt; do
    venv=.venv-peers/$(basename "$pins" .txt)
    stamp=$venv/.offprint-setup
    if [ -f "$stamp" ] && cmp -s "$stamp" "$pins"; then
        continue
    fi
    echo "fetching what $pins pins into $venv" >&2
    "$oracle" -m venv --clear --without-pip "$venv"
    # Folders in a .pth file come after the venv's own, so that its versions win.
    echo "$site" > "$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/oracle.pth"
    "$oracle" -m pip --python "$venv/bin/python" install --disable-pip-version-check --quiet --no-deps -r "$pins"
    cp "$pins" "$stamp"
done
