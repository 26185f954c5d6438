"""How quick the explorer is, in a real browser and asked live, on this machine.

    molyneux demo --out few
    python benchmarks/explorer.py few > benchmarks/results/explorer.json

The run's photos are repeated until there are `--photos` of them, each under a name of its own.
Server and browser share the cores. Every figure is in seconds: the first of a fresh server, and the
median of the rest. Needs chromium and playwright.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from source import source_record

REPEATS = 7
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
WORDS = ("wat", "dog", "street", "L12", "music", "red", "peop")
WORDS_OF_THE_ATLAS = ("water", "cat", "stree", "book", "musi", "blue", "perso")
"""Others, which no one has looked for; a page asks 0.15 s after the last key."""


def repeat(run: Path, out: Path, photos: int) -> None:
    """Write a run of so many photos, which are those of another again and again."""
    from safetensors.numpy import save

    from molyneux.explain.document import read_document
    from molyneux.explain.folder import ExplainFolder
    from molyneux.explain.opened import ExplainRun
    from molyneux.store import Run

    document, opened = read_document(run), ExplainRun(run)
    seen = [number for number, image in enumerate(document.images) if image.error is None]
    names = [f"{number:05d}.jpg" for number in range(photos)]
    folder = ExplainFolder(Run(out), replace(document, images=()), names)
    parts = [(document.images[n], save(opened.fields(n)), opened.photo(n)) for n in seen]
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    folder.run.write_json("manifest.json", manifest | {"photos": names})
    for number, name in enumerate(names):
        image, fields, shown = parts[number % len(parts)]
        folder.write(
            number, replace(image, path=name), fields, shown.read_bytes() if shown else None
        )
    folder.join()


@contextmanager
def served(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str], float]]:
    """Give the address of `molyneux explore`, its process, and how long it took to be there."""
    command = [sys.executable, "-m", "molyneux", "explore", *arguments]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        try:
            yield address, child, time.monotonic() - started
        finally:
            child.terminate()


def peak_gb(pid: int) -> float:
    """Return the most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 2**20, 2)


def timed(action: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def told(seconds: list[float]) -> dict[str, float]:
    """Return the first, and the median of the rest."""
    return {"first": round(seconds[0], 3), "then": round(statistics.median(seconds[1:]), 3)}


def pages(address: str) -> dict[str, Any]:
    """Return how long views take to be there, from the address or the last key."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        found: dict[str, list[float]] = {}
        for _ in range(REPEATS):
            tab = browser.new_context().new_page()

            def first_page(tab: Any = tab) -> None:
                tab.goto(f"{address}#/r0")
                tab.wait_for_selector(".photo-card")

            found.setdefault("first page", []).append(timed(first_page))
            tab.close()
        tab = browser.new_context().new_page()
        tab.goto(f"{address}#/find")
        found["index of the search"] = [
            timed(lambda: tab.wait_for_selector("text=/can be searched here/"))
        ] * 2
        for word in WORDS:

            def search(word: str = word) -> None:
                tab.fill("input[type=search]", word)
                tab.wait_for_selector(".near li, .part .hint")

            tab.fill("input[type=search]", "")
            tab.wait_for_selector("text=/can be searched here/")
            found.setdefault("search", []).append(timed(search))
        for word in WORDS_OF_THE_ATLAS:

            def atlas(word: str = word) -> None:
                tab.fill("input[type=search]", word)
                tab.wait_for_selector("section[aria-labelledby=in-atlas] li")

            tab.fill("input[type=search]", "")
            tab.wait_for_selector("section[aria-labelledby=in-atlas]", state="detached")
            found.setdefault("search of the atlas", []).append(timed(atlas))
        tab.fill("input[type=search]", WORDS[0])
        tab.wait_for_selector(".found-units a")
        units = tab.eval_on_selector_all(".found-units a", "all => all.map(each => each.hash)")
        for unit in (units * REPEATS)[: 2 * REPEATS]:

            def unit_page(unit: str = unit) -> None:
                tab.evaluate("hash => { location.hash = hash }", unit)
                tab.wait_for_selector(f"h1:has-text('{unit.rpartition('/')[2]}')")

            found.setdefault("unit page", []).append(timed(unit_page))
        for number in range(REPEATS):

            def photo_page(number: int = number) -> None:
                tab.evaluate("hash => { location.hash = hash }", f"#/r0/{number}")
                tab.wait_for_selector(f"text={number:05d}.jpg")

            found.setdefault("photo page", []).append(timed(photo_page))
        browser.close()
    return {name: told(seconds) for name, seconds in found.items()}


def asked(address: str) -> dict[str, Any]:
    """Return how long the loaded model takes to answer."""
    origin, _, token = address.partition("/?token=")

    def call(path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{origin}/api/{path}", data, {"X-Token": token})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    started = time.monotonic()
    while not (call("data/runs").get("live") or {}).get("loaded"):
        time.sleep(0.05)
    loaded = time.monotonic() - started

    def job(body: dict[str, Any]) -> None:
        name = call("jobs", body)["job"]
        while (state := call(f"jobs/{name}"))["state"] in ("waiting", "running"):
            time.sleep(0.01)
        if state["state"] != "done":
            raise SystemExit(f"{body['kind']}: {state}")

    photos = [{"run": "r0", "n": number} for number in range(2)]
    words = [card["words"][0] for card in call("data/gallery/r0")["cards"][:2]]
    switched = [
        {
            "kind": "change",
            "photo": photos[0],
            "units": {"set": "total", "top": top, "word": words[0]},
            "ask": [words[0], "dog"],
        }
        for top in (100, 10, 50, 150, 300, 20, 80)
    ]
    # As the page does once a photo is chosen, before anything of it is switched off.
    captioned = [timed(lambda one=one: job({"kind": "caption", "photo": one})) for one in photos]
    put = {"kind": "transplant", "from": photos[0], "into": photos[1], "ask": words}
    return {
        "until the model is loaded": round(loaded, 2),
        "a photo captioned": told(captioned),
        "a set switched off": told([timed(lambda one=one: job(one)) for one in switched]),
        "a transplant with its controls": told([timed(lambda: job(put)) for _ in range(4)]),
    }


def main() -> None:
    """Print all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--photos", type=int, default=1000)
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        many, out = Path(folder) / "many", Path(folder) / "export"
        repeat(options.run, many, options.photos)
        with served(str(many), "--no-live") as (address, child, seconds):
            found: dict[str, Any] = {"until served": round(seconds, 2), **pages(address)}
            found["memory of the server, GB"] = peak_gb(child.pid)
        with served(str(many)) as (address, child, _):
            found["asked live"] = asked(address)
            found["memory with the model, GB"] = peak_gb(child.pid)
        export = ["explore", str(many), "--export", str(out)]
        command = [sys.executable, "-m", "molyneux", *export]
        found["export"] = round(
            timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)), 1
        )
        found["opened from disk"] = pages(f"file://{out}/index.html")
    # What else ran, of this machine's cores: with any of it, every figure is too large.
    record = {"photos": options.photos, "cores": os.cpu_count(), "load before": round(busy, 2)}
    record |= source_record()
    print(json.dumps(record | {"seconds": found}, indent=1))


if __name__ == "__main__":
    main()
