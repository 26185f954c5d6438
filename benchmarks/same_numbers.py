"""Do two checkouts give the same numbers? The sample photos explained, and a small study of each.

    python benchmarks/same_numbers.py OLD NEW --coco DIR --labelled DIR --out DIR

Both run on one thread. Every file of both is compared byte for byte; what says when and where a run
was made (manifest, page, the document's own folder) is compared without that.
Needs the default preset's weights; about ten minutes of one core for each checkout.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+\d{4}")
SAYS_WHEN = {"manifest.json", "report.html", "explain.json"}


def run(checkout: Path, coco: Path, labelled: Path, out: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    molyneux = [sys.executable, "-m", "molyneux"]
    subprocess.run([*molyneux, "demo", "--out", out / "demo"], env=environment, check=True)
    chosen = ["--where", "split=val2017", "--where", "masks", "--images", "10", "--threads", "1"]
    fifth = ["--selectivity", labelled, "--classes", "3", "--per-class", "8"]
    subprocess.run(
        [*molyneux, "study", coco, *chosen, *fifth, "--clip", "none", "--out", out / "study"],
        env=environment,
        check=True,
    )


def content(file: Path, folder: Path) -> bytes:
    data = file.read_bytes()
    if file.name not in SAYS_WHEN:
        return data
    return TIME.sub(b"", data.replace(str(folder).encode(), b""))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    for name in ("coco", "labelled", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    asked = parser.parse_args()
    folders = [(asked.out / name).resolve() for name in ("old", "new")]
    for checkout, folder in zip((asked.old, asked.new), folders, strict=True):
        run(checkout.resolve(), asked.coco.resolve(), asked.labelled.resolve(), folder)
    names = sorted({f.relative_to(d) for d in folders for f in d.rglob("*") if f.is_file()})
    differing = [
        name
        for name in names
        if not all((folder / name).is_file() for folder in folders)
        or content(folders[0] / name, folders[0]) != content(folders[1] / name, folders[1])
    ]
    for name in differing:
        print(f"differs: {name}")
    print(f"{len(names) - len(differing)} of {len(names)} files are the same")
    return int(bool(differing))


if __name__ == "__main__":
    raise SystemExit(main())
