"""One encode by sentence-transformers in a process of its own; prints what it took as one JSON object."""

import argparse
import json
import platform
import resource
import sys
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", required=True)
parser.add_argument("--corpus", required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--batch-size", type=int, required=True)
parser.add_argument("--max-length", type=int, required=True)
parser.add_argument("--compare", help="an .npy of the other side, compared after everything was measured")
arguments = parser.parse_args()

started = time.perf_counter()
import numpy  # noqa: E402
import sentence_transformers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(arguments.threads)
model = sentence_transformers.SentenceTransformer(arguments.model, device="cpu")
model.max_seq_length = arguments.max_length
loaded = time.perf_counter()

with open(arguments.corpus, encoding="utf-8") as lines:
    texts = [json.loads(line)["text"] for line in lines]
# The first call builds what later ones reuse; it is not timed.
model.encode(["one short text", "another one"], show_progress_bar=False)
encode_started = time.perf_counter()
vectors = model.encode(texts, batch_size=arguments.batch_size, show_progress_bar=False)
encoded = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

result = {
    "load_seconds": loaded - started,
    "seconds": encoded - encode_started,
    "peak_bytes": peak,
    "versions": {
        "python": platform.python_version(),
        "sentence-transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    },
}
if arguments.compare:
    other = numpy.load(arguments.compare).astype(numpy.float64)
    own = vectors.astype(numpy.float64)
    cosine = (own * other).sum(1) / (numpy.linalg.norm(own, axis=1) * numpy.linalg.norm(other, axis=1))
    result["agreement"] = {
        "texts": len(texts),
        "cosine_min": float(cosine.min()),
        "cosine_mean": float(cosine.mean()),
        "max_abs_difference": float(numpy.abs(own - other).max()),
    }
print(json.dumps(result))
