"""Kill a study at random moments, resume it each time, and compare it with an undisturbed one.

    python benchmarks/kill_study.py DATA --images 30 --kills 20 --work DIR

Runs `molyneux study` twice: once left alone, once killed with SIGKILL `--kills` times and started
again. Prints how many photos were lost or doubled and whether all tables are byte-identical; the
exit status is 0 only if nothing differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq


def start(arguments: argparse.Namespace, out: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "molyneux", "study", arguments.data, "--out", str(out)),
        *("--images", str(arguments.images), "--experiments", arguments.experiments),
        *("--threads", str(arguments.threads)),
        *(option for where in arguments.where for option in ("--where", where)),
    ]
    return subprocess.Popen(command, stdout=log.open("ab"), stderr=subprocess.STDOUT)


def parts(run: Path) -> int:
    """Return how many photos have been measured, over all phases."""
    return len(list(run.glob("parts/*/[0-9]*.parquet")))


def hashes(run: Path) -> dict[str, str]:
    """Return the sha256 of every table and result."""
    paths = [*run.glob("tables/*.parquet"), *run.glob("results/*.json")]
    return {
        str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(paths)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--experiments", default="E2,E3")
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    left_alone, killed = arguments.work / "left-alone", arguments.work / "killed"
    log = arguments.work / "log.txt"
    began = time.monotonic()
    process = start(arguments, left_alone, log)
    while not parts(left_alone) and process.poll() is None:
        time.sleep(0.1)
    startup = time.monotonic() - began
    if process.wait():
        print(f"the undisturbed study failed; see {log}")
        return 1
    measuring = time.monotonic() - began - startup
    print(f"undisturbed: {startup:.0f} s to the first photo, {measuring:.0f} s after", flush=True)
    rng = random.Random(arguments.seed)
    kills = []
    for number in range(arguments.kills):
        process = start(arguments, killed, log)
        # One kill in four before the first photo; the others spread over what there is to measure.
        early = rng.random() < 0.25
        longest = 2.2 * measuring / arguments.kills
        wait = rng.uniform(0.2, startup) if early else startup + rng.uniform(0.0, longest)
        try:
            process.wait(timeout=wait)
            print(f"kill {number + 1}: the study had ended before {wait:.1f} s", flush=True)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done = parts(killed)
            kills.append(round(wait, 2))
            print(f"kill {number + 1} after {wait:.1f} s: {done} parts", flush=True)
    if start(arguments, killed, log).wait():
        print(f"the resumed study failed; see {log}")
        return 1
    photos = pq.read_table(killed / "tables" / "photos.parquet")["id"].to_pylist()
    expected = pq.read_table(left_alone / "tables" / "photos.parquet")["id"].to_pylist()
    a, b = hashes(left_alone), hashes(killed)
    summary = {
        "photos": len(expected),
        "killed": len(kills),
        "kills_after_s": kills,
        "lost": len(set(expected) - set(photos)),
        "doubled": len(photos) - len(set(photos)),
        "files": len(a),
        "different": sorted(name for name in {*a, *b} if a.get(name) != b.get(name)),
    }
    print(json.dumps(summary, indent=1))
    return int(bool(summary["lost"] or summary["doubled"] or summary["different"]))


if __name__ == "__main__":
    sys.exit(main())
