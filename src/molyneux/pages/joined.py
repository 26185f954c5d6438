"""The pages in one file: their modules joined into a classic script, inside beside the style.

A page opened from disk may fetch nothing and import no module.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path

from molyneux.errors import RunError

WEB = Path(__file__).with_name("web")
"""What browsers are given."""
ENTRY = "app.js"
_LICENCES = ("LICENCES.txt", "APACHE-2.0.txt")
_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\./[\w/.-]+)";\n', re.MULTILINE)
_DECLARED = re.compile(r"^export ((?:async )?function\*?|const|class) (\w+)", re.MULTILINE)
_LISTED = re.compile(r"\bexport ?\{([^}]*)\};?")
_RENAMED = re.compile(r"([\w$]+) as ([\w$]+)")


def joined_page(first: str, policy: str, left_out: Collection[str] = ()) -> tuple[str, str]:
    """Return the page with its style and its script inside: what is ahead of its data, and after.

    Args:
        first: what the script does ahead of all.
        policy: what the page may do, with `{script}` and `{style}` for their hashes.
        left_out: modules that this page never uses.

    Raises:
        RunError: the package's files are not as they were installed.
    """
    script = f"\n{first}\n{join_modules(_sources(), left_out=left_out)}"
    style = f"\n{(WEB / 'style.css').read_text(encoding='utf-8')}"
    if "</script" in script.lower() or "</style" in style.lower():
        raise RunError("the pages hold what would end their own script; install molyneux anew")
    policy = policy.format(script=digest(script), style=digest(style))
    page = (WEB / "index.html").read_text(encoding="utf-8")
    for there, instead in (
        ("<title>", f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<title>'),
        ('<link rel="stylesheet" href="style.css">', f"<style>{style}</style>"),
        ('<script type="module" src="app.js"></script>\n', ""),
    ):
        page = _instead(page, there, instead)
    before, end, after = page.partition("</body>")
    if not end:
        raise RunError("the page has no end; install molyneux anew")
    return before, f"{_licences()}<script>{script}</script>\n{end}{after}"


def _licences() -> str:
    """Return the notices of other people's work in the script: the page may be handed on."""
    notices = [(WEB / "vendor" / name).read_text(encoding="utf-8") for name in _LICENCES]
    return "\n".join(["<!--", *notices, "-->\n"])


def _instead(page: str, there: str, instead: str) -> str:
    if page.count(there) != 1:
        raise RunError(f"the page has not one {there}; install molyneux anew")
    return page.replace(there, instead)


def digest(text: str) -> str:
    """Return the sha256 of a text as a policy names it."""
    return base64.b64encode(sha256(text.encode()).digest()).decode()


def _sources() -> dict[str, str]:
    return {
        path.relative_to(WEB).as_posix(): path.read_text(encoding="utf-8")
        for path in WEB.rglob("*.js")
    }


def join_modules(
    sources: Mapping[str, str], entry: str = ENTRY, left_out: Collection[str] = ()
) -> str:
    """Return modules as one classic script: each a function of its own, those it needs ahead of it.

    They import names alone, at their top, and export declarations or one list of names. What a
    module that is left out exports is undefined.

    Raises:
        RunError: one is not there, or they import one another in a circle.
    """
    done: dict[str, str] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above or name not in sources:
            raise RunError(f"the pages' {name} cannot be joined; install molyneux anew")
        if name in done:
            return
        if name in left_out:
            done[name] = f"modules[{json.dumps(name)}] = {{}};\n"
            return
        for _, needed in _IMPORT.findall(sources[name]):
            add(_beside(name, needed), (*above, name))
        done[name] = _as_function(name, sources[name])

    add(entry, ())
    return '(() => {\n"use strict";\nconst modules = {};\n' + "".join(done.values()) + "})();\n"


def _beside(name: str, needed: str) -> str:
    return (Path(name).parent / needed).as_posix()


def _as_function(name: str, source: str) -> str:
    taken = []
    for names, needed in _IMPORT.findall(source):
        renamed = _RENAMED.sub(r"\1: \2", names)
        taken.append(f"const {{{renamed}}} = modules[{json.dumps(_beside(name, needed))}];")
    body = _IMPORT.sub("", source)
    given = [declared for _, declared in _DECLARED.findall(body)]
    body = _DECLARED.sub(r"\1 \2", body)
    for listed in _LISTED.findall(body):
        given += [
            _RENAMED.sub(r"\2: \1", part.strip()) for part in listed.split(",") if part.strip()
        ]
    body = _LISTED.sub("", body)
    return (
        f"modules[{json.dumps(name)}] = (() => {{\n{' '.join(taken)}\n{body}\n"
        f"return {{{', '.join(given)}}};\n}})();\n"
    )
