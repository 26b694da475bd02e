"""Makes tests/data/hostile-weights: files that must not be loaded, made by torch and pickle themselves.

    python export/oracle/make_hostile_weights.py [--into tests/data/hostile-weights]

  marker.bin   a file of `torch.save` that creates the file `executed` in the current folder when Python loads it; the
               script proves that by loading it in a folder of its own
  legacy.bin   the format that `torch.save` wrote before torch 1.6

Needs torch.
"""

import argparse
import os
import pathlib
import tempfile

import torch


class Marker:
    """Pickled as a call of `os.system`."""

    def __reduce__(self):
        return os.system, ("echo executed > executed",)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=pathlib.Path, default=pathlib.Path("tests/data/hostile-weights"))
    into = parser.parse_args().into.resolve()
    into.mkdir(parents=True, exist_ok=True)
    torch.save({"embeddings.word_embeddings.weight": Marker()}, into / "marker.bin")
    legacy = {"embeddings.word_embeddings.weight": torch.ones(2, 3)}
    torch.save(legacy, into / "legacy.bin", _use_new_zipfile_serialization=False)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        torch.load(into / "marker.bin", weights_only=False)
        assert pathlib.Path("executed").exists(), "the marker does nothing, so it would prove nothing"


if __name__ == "__main__":
    main()
