"""MiniLM as transformers computes it in fp32, one text at a time, and the texts that are hard to get right."""

from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent.parent


class Oracle:
    """Token ids and normalized mean-pooled vectors of plain texts."""

    def __init__(self, checkpoint):
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.model = AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()

    def ids(self, text, max_length):
        return self.tokenizer(text, truncation=True, max_length=max_length)["input_ids"]

    def vector(self, ids):
        """A text alone has no padding, so that the mean is over all its tokens."""
        with torch.no_grad():
            states = self.model(input_ids=torch.tensor([ids])).last_hidden_state
        return torch.nn.functional.normalize(states.mean(dim=1), dim=1)[0].numpy()


def repeated(name, repeat, times, tail=""):
    """A text that is told by its rule: `repeat`, `times` over, then `tail`."""
    return {"name": name, "repeat": repeat, "times": times, "tail": tail}


def text_of(case):
    """The text of a case, stored or by rule."""
    return case["text"] if "text" in case else case["repeat"] * case["times"] + case["tail"]


# Five word pieces, so that lengths can be hit exactly; two more are the special tokens around the text.
FIVE = "deep learning of sea waves "

LONG = [
    repeated("255 tokens", FIVE, 50, "deep learning of"),
    repeated("256 tokens", FIVE, 50, "deep learning of sea"),
    repeated("257 tokens", FIVE, 51),
    repeated("511 tokens", FIVE, 101, "deep learning of sea"),
    repeated("512 tokens", FIVE, 102),
    repeated("513 tokens", FIVE, 102, "deep"),
    repeated("100,000 characters", "Currents carry larvae (and papers) 3.5 km a day; ", 2040, "end of the text" + "." * 25),
    repeated("100,000 letters without a space", "abcde", 20000),
    repeated("100,000 combining marks", "\u0301\u0327", 50000),
    repeated("20,000 emoji", "\U0001f433 ", 20000),
]

SHORT = [
    ("empty", ""),
    ("one space", " "),
    ("white space of all kinds", "\t\n\r \u00a0\u2003\u2028\u3000"),
    ("one letter", "a"),
    ("one mark", "."),
    ("one CJK character", "\u6d77"),
    ("emoji", "\U0001f419\U0001f3fd reads \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1ee\U0001f1f8 \u2764\ufe0f"),
    ("Arabic and Hebrew with direction marks", "\u202b\u0627\u0644\u0628\u062d\u0631 \u0627\u0644\u0639\u0645\u064a\u0642\u202c \u200f\u05d9\u05dd \u05e2\u05de\u05d5\u05e7\u200e (deep sea)"),
    ("vowel points", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u0648\u064e\u0631\u064e\u0642\u064e\u0629"),
    ("combining marks", "e\u0301\u0323\u0302\u0308 a\u0300\u0316\u0317\u0318 Z\u0351\u036b\u0343a\u0324\u0363l\u0348\u034dg\u0334o\u0321"),
    ("precomposed and decomposed", "\u00e9t\u00e9 e\u0301te\u0301 \u212b \u00c5 A\u030a"),
    ("NUL inside", "deep\u0000sea \u0000 waves\u0000"),
    ("control characters", "deep\u0001\u0007\u001bsea\u007f\u0085\u009fwaves"),
    ("replacement and private use characters", "\ufffd \ue000 \uf8ff \U000f0000 \ufffe \ufeff"),
    ("invisible characters", "co\u00adop\u200ber\u200ca\u200dte\u2060 \u180e"),
    ("special tokens as text", "[CLS] deep [SEP] sea [MASK] waves [PAD] [UNK] [sep] [ SEP ]"),
    ("title, separator, no abstract", "Waves of the deep sea[SEP]"),
    ("word pieces as text", "##ing ##s wav ##es"),
    ("case that changes length", "\u0130stanbul STRASSE stra\u00dfe \u1e9e \u01c5 \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u03a3\u0391\u03a3"),
    ("ligatures and wide letters", "\ufb01ne \ufb03 \uff24\uff45\uff45\uff50 \u2460 \u00bd \u216b"),
    ("scripts", "\u0e17\u0e30\u0e40\u0e25\u0e25\u0e36\u0e01 \u0938\u092e\u0941\u0926\u094d\u0930 \u6df1\u6d77\u6ce2\u6d6a \u30c7\u30a3\u30fc\u30d7 \ubc14\ub2e4 \u043c\u043e\u0440\u0435"),
    ("letters beyond the first plane", "\U0001d49f\U0001d452\U0001d452\U0001d45d \U00020000\U0002a6d6 \U00010330"),
    ("formula", "$E = mc^2$, \\alpha_{i,j} \\leq 10^{-3}; x\u2081\u00b2 \u2260 \u221a2 \u00b1 3.14159"),
    ("address", "see https://example.org/a_b?c=d&e=%20f#g or <mail@example.org>"),
    ("word of 99 letters", "n" * 99),
    ("word of 100 letters", "n" * 100),
    ("word of 101 letters", "n" * 101),
    ("quotes and dashes", "\u201cdeep\u201d \u2018sea\u2019 \u2013 waves \u2014 \u2026 \u00ables\u00bb"),
]


def cases():
    """Every hard text; the long ones at both lengths that this model is used with, the others at its default."""
    short = [{"name": name, "text": text, "max_length": 256} for name, text in SHORT]
    return short + [dict(case, max_length=length) for case in LONG for length in (256, 512)]
