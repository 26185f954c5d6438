"""The explorer's own files: what is other people's is unchanged, and a page needs no build step."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

import molyneux

WEB = Path(molyneux.__file__).parent / "pages" / "web"
OURS = sorted(WEB.glob("*.js"))
VENDORED = sorted((WEB / "vendor").glob("*.js"))
IMPORT = re.compile(r'^import \{[^}]*\} from "\./[\w/-]+\.js";$')


def _imports(text: str) -> list[str]:
    return re.findall(r"^import [^;]*;$", text, flags=re.MULTILINE)


def test_vendored_files_are_those_whose_hashes_are_kept() -> None:
    lines = (WEB / "vendor" / "HASHES.txt").read_text(encoding="ascii").splitlines()
    kept = {name: digest for digest, name in (line.split() for line in lines)}
    assert kept == {path.name: sha256(path.read_bytes()).hexdigest() for path in VENDORED}


def test_every_vendored_file_has_its_licence_and_is_named_among_third_parties() -> None:
    licences = (WEB / "vendor" / "LICENCES.txt").read_text(encoding="utf-8")
    third = Path(__file__).parents[2] / "THIRD_PARTY.md"
    for path in VENDORED:
        assert path.name in licences
        assert path.name in third.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_module_can_be_joined_with_the_others(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = _imports(text)
    assert all(IMPORT.match(" ".join(one.split())) for one in found)
    for named in re.findall(r'from "\./([^"]+)"', "\n".join(found)):
        assert (WEB / named).is_file()
    # What is imported stands first, and what is exported is declared where it is.
    body = text[text.rindex(found[-1]) + len(found[-1]) :] if found else text
    assert not re.search(r"^import ", body, flags=re.MULTILINE)
    exported = re.findall(r"^export (.*)$", text, flags=re.MULTILINE)
    assert all(re.match(r"(async )?function |const |class ", one) for one in exported)
    assert "import(" not in text


@pytest.mark.parametrize("path", [*OURS, WEB / "index.html"], ids=lambda path: path.name)
def test_a_page_names_no_other_host_and_has_nothing_inline(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
    # The policy of the pages lets no style or script stand inside markup.
    assert not re.search(r"""\sstyle=["']|<style|<script>|\son[a-z]+=["']""", text)
    assert "dangerouslySetInnerHTML" not in text


def test_every_module_can_be_reached_from_the_entry() -> None:
    seen: set[str] = set()
    waiting = ["app.js"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        text = (WEB / name).read_text(encoding="utf-8")
        if not name.startswith("vendor/"):
            waiting += re.findall(r'from "\./([^"]+)"', "\n".join(_imports(text)))
    there = {path.relative_to(WEB).as_posix() for path in (*OURS, *VENDORED)}
    assert seen == there
