"""Writes tests/data/formats: one small corpus in every format that offprint reads, by the tools that people use.

Run from the root of the project with pyarrow, polars, pandas and zstandard (or the zstd program):

    python export/oracle/make_format_fixtures.py
"""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path("tests/data/formats")

ROWS = [
    {
        "id": f"p{n}",
        "title": f'Paper {n}: "quoted", with a comma' if n % 3 == 0 else f"Über paper {n}",
        "abstract": None if n == 4 else f"First line of {n}.\nSecond line\twith a tab." if n % 2 else f"Abstract {n}",
        "field": ["biology", "physics", "art"][n % 3],
        "year": 2000 + n,
        "open": n % 2 == 0,
        "split": "train" if n < 9 else "test",
    }
    for n in range(12)
]


def flat_table():
    return pa.Table.from_pylist(
        ROWS,
        schema=pa.schema(
            [
                ("id", pa.string()),
                ("title", pa.string()),
                ("abstract", pa.string()),
                ("field", pa.string()),
                ("year", pa.int64()),
                ("open", pa.bool_()),
                ("split", pa.string()),
            ]
        ),
    )


def nested_table():
    """Structs, lists, a dictionary, large strings, a column of nulls, a date and a time."""
    rows = [
        {
            "paper": {"id": row["id"], "title": row["title"], "text": {"abstract": row["abstract"]}} if n != 7 else None,
            "field": row["field"],
            "topics": None if n == 2 else [row["field"], f"topic {n}"][: n % 3],
            "codes": [n, n + 1],
            "score": n / 4,
            "nothing": None,
            "split": row["split"],
        }
        for n, row in enumerate(ROWS)
    ]
    text = pa.large_string()
    schema = pa.schema(
        [
            ("paper", pa.struct([("id", pa.string()), ("title", text), ("text", pa.struct([("abstract", text)]))])),
            ("field", pa.dictionary(pa.int32(), pa.string())),
            ("topics", pa.list_(pa.string())),
            ("codes", pa.list_(pa.int16())),
            ("score", pa.float32()),
            ("nothing", pa.null()),
            ("split", pa.string()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def parquet_files():
    pq.write_table(flat_table(), OUT / "pyarrow-snappy.parquet", row_group_size=5, compression="snappy")
    pq.write_table(
        flat_table(), OUT / "pyarrow-zstd-v2.parquet", row_group_size=4, compression="zstd", data_page_version="2.0"
    )
    pq.write_table(nested_table(), OUT / "pyarrow-nested.parquet", row_group_size=5, compression="zstd")
    import polars as pl

    pl.from_arrow(flat_table()).with_columns(pl.col("field").cast(pl.Categorical)).write_parquet(
        OUT / "polars-zstd.parquet", compression="zstd", row_group_size=6
    )
    pl.DataFrame(
        {
            "paper": [{"id": row["id"], "title": row["title"], "abstract": row["abstract"]} for row in ROWS],
            "topics": [[row["field"]] for row in ROWS],
        }
    ).write_parquet(OUT / "polars-nested-snappy.parquet", compression="snappy")


def text_files():
    try:
        import pandas as pd

        frame = pd.DataFrame(ROWS)
        frame.to_csv(OUT / "pandas.csv", index=False)
        frame.to_csv(OUT / "pandas.tsv", index=False, sep="\t")
        frame.to_json(OUT / "pandas.jsonl", orient="records", lines=True, force_ascii=True)
    except ImportError:
        raise SystemExit("pandas is needed for the CSV, TSV and JSONL files")
    plain = (OUT / "pandas.jsonl").read_bytes()
    half = len(plain) // 2
    (OUT / "pandas.jsonl.gz").write_bytes(gzip.compress(plain[:half], mtime=0) + gzip.compress(plain[half:], mtime=0))
    pack_zstd("pandas.tsv")
    pack_zstd("pandas.jsonl")


def pack_zstd(name):
    source, target = OUT / name, OUT / f"{name}.zst"
    if shutil.which("zstd"):
        subprocess.run(["zstd", "-q", "-f", "-19", str(source), "-o", str(target)], check=True)
        return
    import pyarrow

    with pyarrow.CompressedOutputStream(str(target), "zstd") as stream:
        stream.write(source.read_bytes())


def metadata_json():
    papers = {
        row["id"]: {"paper_id": row["id"], "title": row["title"], "abstract": row["abstract"]} for row in ROWS
    }
    (OUT / "metadata.json").write_text(json.dumps(papers, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    parquet_files()
    text_files()
    metadata_json()
    print(*sorted(f"{path.stat().st_size:>7} {path.name}" for path in OUT.iterdir()), sep="\n")
