"""Runs commands in processes of their own, on tiny parts, and ends each by a signal in its midst.

One process imports torch and forks for each case. Each case is printed as JSON: the exit status,
what is left in its folder, and the status of the same command given again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from study_toy import seeing_captioner
from tiny_models import tiny_photos

import molyneux.explain.run
from molyneux.cli import main
from molyneux.cli.progress import Bars
from molyneux.models import parts
from molyneux.models.captioner import Captioner
from molyneux.models.parts import Parts

NOTHING = ["--bertscore", "none"]


def wait_at(owner: Any, name: str, ready: int, call: int) -> None:
    """Have the call of that number of a function say that it is reached, and wait for the end."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def waiting(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.write(ready, b"!")
            time.sleep(60)
        return real(*arguments, **options)

    setattr(owner, name, waiting)


def ended(command: list[str], owner: Any, name: str, call: int, number: int) -> int:
    """Return the exit status of a command that is sent a signal at a call of a function."""
    reached, ready = os.pipe()
    child = os.fork()
    if child == 0:
        # As from a terminal: whatever started the tests may have them ignore these.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_DFL)
        wait_at(owner, name, ready, call)
        os._exit(main(command))
    os.close(ready)
    assert os.read(reached, 1) == b"!", f"{command} ended before"
    os.close(reached)
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def again(command: list[str]) -> int:
    """Return the exit status of a command in a process of its own."""
    child = os.fork()
    if child == 0:
        os._exit(main(command))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(folder: Path) -> dict[str, Any]:
    photos = folder / "photos"
    photos.mkdir()
    for number, photo in enumerate(tiny_photos(4)):
        photo.save(photos / f"{number}.png")
    lines = [{"file": f"{n}.png", "captions": ["a dog", "a cat"]} for n in range(4)]
    captions = folder / "captions.jsonl"
    captions.write_text(
        "\n".join(json.dumps(line | {"file": f"photos/{line['file']}"}) for line in lines)
    )
    captioner = seeing_captioner(photos)
    frozen = Parts(captioner.language_model, captioner.encoder, captioner.names, {"encoder": "0"})
    tokenizer = captioner.language_model.tokenizer
    Captioner.load = lambda *arguments, **options: captioner  # type: ignore[method-assign]
    Parts.load = lambda *arguments, **options: frozen  # type: ignore[method-assign]
    parts.load_tokenizer = lambda *arguments: (tokenizer, "tiny")
    explain = ["explain", str(photos), "--ablate", "none", "--top", "3"]
    train = ["train", str(captions), "--steps", "4", "--batch", "2", "--every", "2", "--views", "1"]
    train += ["--device", "cpu", "--dtype", "float32", "--begin", captioner.layout.begin or ""]
    study = ["study", str(photos), "--experiments", "E3", "--threads", "1", "--subsets", "0"]
    cases: dict[str, tuple[list[str], Any, str, int, int]] = {
        "explain, first photo": (explain, molyneux.explain.run, "explain_seen", 1, signal.SIGTERM),
        "explain, second": (explain, molyneux.explain.run, "explain_seen", 2, signal.SIGTERM),
        "explain, Ctrl-C": (explain, molyneux.explain.run, "explain_seen", 1, signal.SIGINT),
        "explain, hang-up": (explain, molyneux.explain.run, "explain_seen", 1, signal.SIGHUP),
        "reference": (["reference", str(photos)], Captioner, "see", 2, signal.SIGTERM),
        "lens": (["lens", "build", str(photos)], Captioner, "see", 2, signal.SIGTERM),
        "train": ([*train, *NOTHING], Bars, "on_step", 3, signal.SIGTERM),
        "train, first photo": ([*train, *NOTHING], Bars, "on_photo", 1, signal.SIGTERM),
        "study": ([*study, *NOTHING, "--clip", "none"], Captioner, "see", 2, signal.SIGTERM),
    }
    found = {}
    for number, (name, (command, owner, function, call, sent)) in enumerate(cases.items()):
        out = folder / f"run-{number}"
        whole = [*command, "--out", str(out), "--quiet"]
        status = ended(whole, owner, function, call, sent)
        left = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
        found[name] = {"status": status, "left": left, "again": again(whole)}
    return found


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
