"""The explorer over HTTP, on loopback: who may ask, what is taken in, and what a model answers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from explorer_served import Served, serve
from PIL import Image
from report_run import broken_image, image, word, write_run
from tiny_models import count_hooks, tiny_captioner
from tiny_partners import square_photos, with_partners

from molyneux import Scaled, Settings, explain
from molyneux.cli import main
from molyneux.data.samples import sample_photos
from molyneux.errors import WeightsError
from molyneux.explore import uploads
from molyneux.explore.guard import CONTENT_SECURITY
from molyneux.explore.serve import listen
from molyneux.model import Model
from molyneux.models.transplant import transplant
from molyneux.neurons import sinks

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    first = image("/home/me/guitar.jpg", "a woman with a guitar.", [word("woman")])
    second = image("river.jpg", "a river.", [word("river", seed=2)])
    folder = tmp_path_factory.mktemp("secret-place") / "photos"
    return write_run(folder, [first, second, broken_image("torn.jpg", "the file ends early")])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    photos = square_photos(tmp_path_factory.mktemp("partners"))
    return with_partners(tiny_captioner("llama"), photos, lambda k: "xylophone")


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for temporary files that no other process has."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def served(run: Path, model: Any, temporary: Path) -> Iterator[Served]:
    with serve([run], lambda: model) as found:
        yield found
    assert not list(temporary.iterdir()), "something was left behind"


def ask(
    served: Served,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    method: str | None = None,
    token: bool = True,
) -> Answer:
    """Return status, headers and contents of an answer; the path goes out as it is."""
    host = served.origin.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=20)
    given = ({"X-Token": served.token} if token else {}) | (headers or {})
    connection.request(method or ("GET" if body is None else "POST"), path, body, given)
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found


def data(served: Served, path: str, body: Any = None) -> Any:
    """Return what an answer holds, which must be a good one."""
    sent = None if body is None else json.dumps(body).encode()
    status, _, found = ask(served, path, sent)
    assert status in (200, 202), found
    return json.loads(found)


def job(served: Served, **asked: Any) -> dict[str, Any]:
    """Return what becomes of a job."""
    name = data(served, "/api/jobs", asked)["job"]
    while (found := data(served, f"/api/jobs/{name}"))["state"] in ("waiting", "running"):
        time.sleep(0.01)
    return found


def result(served: Served, **asked: Any) -> dict[str, Any]:
    found = job(served, **asked)
    assert found["state"] == "done", found.get("error")
    return found["result"]


def raw(served: Served, request: bytes) -> bytes:
    """Send bytes as they are, and return what comes back."""
    name, port = served.origin.removeprefix("http://").split(":")
    with socket.create_connection((name, int(port)), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65536):
            found += part
    return found


# --- who may ask ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("evil.com", "evil.com:8631", "127.0.0.1.evil.com", "localhost.evil.com", "127.0.0.2"),
        *("localhost@evil.com", "0.0.0.0", "[::]", "127.0.0.1:80:80", "", "127.0.0.1 evil.com"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/app.js", "/api/data/runs", "/api/jobs/x"])
def test_another_name_that_leads_here_is_refused(served: Served, host: str, path: str) -> None:
    status, headers, body = ask(served, path, headers={"Host": host})
    assert status == 403
    assert b"guitar" not in body
    assert headers["content-security-policy"] == CONTENT_SECURITY


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9999", "[::1]:8631"])
def test_the_port_of_a_tunnel_may_be_another(served: Served, host: str) -> None:
    assert ask(served, "/api/data/runs", headers={"Host": host})[0] == 200
    own = {"Host": host, "Origin": f"http://{host}"}
    assert ask(served, "/api/data/runs", headers=own)[0] == 200


@pytest.mark.parametrize("origin", ["null", "http://evil.com", "https://{}", "http://{}.evil.com"])
@pytest.mark.parametrize("path", ["/", "/api/data/runs", "/api/image/r0/0"])
def test_another_origin_is_refused_with_the_token_too(
    served: Served, origin: str, path: str
) -> None:
    host = served.origin.removeprefix("http://")
    status, headers, _ = ask(served, path, headers={"Origin": origin.format(host)})
    assert status == 403
    assert not [name for name in headers if name.startswith("access-control")]


def test_another_port_of_this_machine_is_another_origin(served: Served) -> None:
    headers = {"Origin": "http://127.0.0.1:3000"}
    assert ask(served, "/api/jobs", b"{}", headers)[0] == 403
    assert ask(served, "/api/data/runs", headers={"Sec-Fetch-Site": "same-site"})[0] == 403
    assert ask(served, "/api/data/runs", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert ask(served, "/api/data/runs", headers={"Sec-Fetch-Site": "same-origin"})[0] == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_form_cannot_post(served: Served, kind: str) -> None:
    body = b'{"kind": "caption", "photo": {"run": "r0", "n": 0}}'
    headers = {"Content-Type": kind, "Origin": "null"}
    assert ask(served, "/api/jobs", body, headers, token=False)[0] == 403
    assert ask(served, "/api/jobs", body, {"Content-Type": kind}, token=False)[0] == 403
    assert ask(served, f"/api/jobs?token={served.token}", body, token=False)[0] == 403
    assert ask(served, "/", b"x")[0] == 403


def test_a_preflight_grants_nothing(served: Served) -> None:
    headers = {"Origin": "http://evil.com", "Access-Control-Request-Headers": "x-token"}
    status, found, _ = ask(served, "/api/jobs", headers=headers, method="OPTIONS", token=False)
    assert status == 403
    assert not [name for name in found if name.startswith("access-control")]


@pytest.mark.parametrize("token", ["", "wrong", "Bearer"])
def test_without_the_token_nothing_is_told(served: Served, token: str) -> None:
    for path in ("/api/data/runs", "/api/data/photo/r0/0", "/api/image/r0/0", "/api/nothing"):
        assert ask(served, path, token=False)[0] == 403
        status, _, body = ask(served, path, headers={"X-Token": token}, token=False)
        assert status == 403
        assert served.token.encode() not in body
    # In an address it counts for pictures alone.
    assert ask(served, f"/api/data/runs?token={served.token}", token=False)[0] == 403
    assert ask(served, f"/api/image/r0/0?token={served.token}", token=False)[0] == 200
    assert ask(served, f"/api/image/r0/0?token={token}", token=False)[0] == 403


def test_two_hosts_two_tokens_and_none_are_refused(served: Served) -> None:
    token = served.token.encode()
    for lines in (
        b"Host: localhost\r\nHost: evil.com\r\nX-Token: " + token,
        b"Host: localhost\r\nX-Token: " + token + b"\r\nX-Token: " + token,
        b"Host: localhost\r\nX-Token: \xff\xfe",
        b"Host: localhost\r\nOrigin: http://localhost\r\nOrigin: null\r\nX-Token: " + token,
    ):
        found = raw(served, b"GET /api/data/runs HTTP/1.1\r\n" + lines + b"\r\n\r\n")
        assert found.split(b"\r\n")[0].split()[1] in (b"403", b"400")
    assert b" 403 " in raw(served, b"GET / HTTP/1.0\r\n\r\n").split(b"\r\n")[0]


def test_every_answer_has_the_policy(served: Served) -> None:
    for path in ("/", "/app.js", "/nothing", "/api/data/runs", "/api/data/x", "/api/image/r0/0"):
        headers = ask(served, path)[1]
        assert headers["content-security-policy"] == CONTENT_SECURITY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
    assert "unsafe" not in CONTENT_SECURITY


@pytest.mark.parametrize(
    "path",
    [
        *("/../runs.py", "/%2e%2e/runs.py", "/vendor/../../app.py", "//etc/passwd", "/app.py"),
        *("/api/data/../../../etc/passwd", "/api/data/photo/r0/..%2f0", "/api/data/photo/r0/-1"),
        *("/api/image/r0/..%2f..%2fexplain.json", "/api/image/r0/9", "/api/image/r1/0"),
        *(
            "/api/image/upload/..%2fx",
            "/api/image/sample/..%2fx",
            "/api/data/photo/r0/00000000",
        ),
        *("/docs", "/openapi.json", "/redoc", "/%00", "/api/image/r0/0%00"),
    ],
)
def test_no_address_leads_out(served: Served, path: str) -> None:
    status, _, body = ask(served, path)
    assert 400 <= status < 500
    assert set(json.loads(body)) == {"error"}


def test_nothing_names_a_folder(served: Served, run: Path) -> None:
    for key in ("runs", "gallery/r0", "photo/r0/0", "photo/r0/2", "search/r0"):
        status, _, body = ask(served, f"/api/data/{key}")
        if key == "search/r0":  # the made-up run has no table of units
            assert status == 422
            continue
        assert status == 200
        shown = json.loads(body)
        shown.get("image", {}) and shown["image"].pop("path")
        assert str(run.parent).encode() not in json.dumps(shown).encode()
        assert b"/home/me" not in json.dumps(shown).encode()


# --- what is taken in ------------------------------------------------------------------------


def upload(served: Served, content: bytes, name: str = "photo.png") -> Answer:
    return ask(served, "/api/photos", content, {"X-Name": quote(name)})


def jpeg(folder: Path, size: tuple[int, int] = (64, 48)) -> bytes:
    path = folder / "made.jpg"
    Image.new("RGB", size, "#336699").save(path)
    return path.read_bytes()


def test_a_photo_is_taken_in_and_made_anew_before_it_is_shown(
    served: Served, tmp_path: Path
) -> None:
    content = jpeg(tmp_path) + b"<script>alert(1)</script>"
    status, _, body = upload(served, content, "../../holiday <b>é\u202e.jpg")
    found = json.loads(body)
    assert status == 200
    assert (found["width"], found["height"]) == (64, 48)
    assert found["name"] == "holiday <b>é\\u202e.jpg"
    status, headers, shown = ask(served, found["url"])
    assert status == 200
    assert headers["content-type"] == "image/jpeg"
    assert b"alert" not in shown
    assert result(served, kind="caption", photo={"upload": found["photo"]})["photo"] == found["url"]


def bad_photos() -> dict[str, tuple[bytes, int]]:
    """Files that are no photo a model can be shown, each with the answer's status."""
    side = (9000).to_bytes(4, "big")
    chunks = ((b"IHDR", side + side + b"\x08\x02\0\0\0"), (b"IDAT", b""), (b"IEND", b""))
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        len(held).to_bytes(4, "big") + kind + held + zlib.crc32(kind + held).to_bytes(4, "big")
        for kind, held in chunks
    )
    return {
        "nothing": (b"", 422),
        "text": (b"hello there", 422),
        "page": (b"<html><script>alert(1)</script></html>", 422),
        "drawing": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 422),
        "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 422),
        "pdf": (b"%PDF-1.7\n", 422),
        "header": (b"\xff\xd8\xff", 422),
        "noise": (bytes(range(128, 256)) * 40, 422),
        "too many pixels": (bomb, 413),
    }


@pytest.mark.parametrize("name", bad_photos())
def test_what_is_no_photo_is_refused_in_one_line(
    served: Served, temporary: Path, name: str
) -> None:
    content, expected = bad_photos()[name]
    kept = list(temporary.rglob("*"))
    status, _, body = upload(served, content, f"my {name}.png")
    said = json.loads(body)["error"]
    assert status == expected
    assert f"my {name}.png" in said
    assert str(temporary) not in said
    assert "\n" not in said
    assert list(temporary.rglob("*")) == kept
    assert data(served, "/api/data/runs")["live"]["loaded"]


def test_a_torn_photo_is_refused(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "whole.png"
    Image.effect_noise((90, 90), 50).save(path)
    content = path.read_bytes()
    for part in (0.3, 0.6, 0.95):
        assert upload(served, content[: int(part * len(content))])[0] == 422
    assert upload(served, content)[0] == 200


def test_too_many_bytes_are_not_kept(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molyneux.explore.app.MAX_BYTES", 5000)
    token, host = served.token, served.origin.removeprefix("http://")
    head = f"POST /api/photos HTTP/1.1\r\nHost: {host}\r\nX-Token: {token}\r\n"
    declared = raw(served, f"{head}Content-Length: 5001\r\n\r\n".encode() + b"x" * 5001)
    assert b" 413 " in declared.split(b"\r\n")[0]
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    sent = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 3 + b"0\r\n\r\n"
    assert b" 413 " in raw(served, sent).split(b"\r\n")[0]
    assert ask(served, "/api/photos", b"x" * 5000)[0] == 422
    odd = raw(served, f"{head}Content-Length: -5\r\n\r\n".encode())
    assert odd.split(b"\r\n")[0].split()[1].startswith(b"4")


def test_clients_that_leave_do_no_harm(served: Served) -> None:
    name, port = served.origin.removeprefix("http://").split(":")
    head = f"POST /api/photos HTTP/1.1\r\nHost: localhost\r\nX-Token: {served.token}\r\n"
    for sent in (b"", b"GET", f"{head}Content-Length: 100000\r\n\r\nhalf".encode()):
        for _ in range(5):
            with socket.create_connection((name, int(port))) as connection:
                connection.sendall(sent)
    assert data(served, "/api/data/runs")["runs"][0]["photos"] == 3


def test_the_oldest_photo_makes_place_and_all_go_at_the_end(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST", 2)
    found = uploads.Uploads()
    first, *others = [found.add(jpeg(tmp_path), f"{n}.jpg") for n in range(3)]
    assert not first.path.exists()
    assert all(one.path.exists() for one in others)
    with pytest.raises(Exception, match="not here any more"):
        found.get(first.id)
    folder = others[0].path.parent
    assert folder.stat().st_mode & 0o077 == 0  # no other user's
    found.close()
    assert not folder.exists()


def test_what_a_killed_server_left_is_deleted_and_no_others(temporary: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = temporary / f"molyneux-explore-{ended.pid}-abc"
    others = [temporary / f"molyneux-explore-{os.getpid()}-abc", temporary / "molyneux-explore-x-y"]
    for folder in (left, *others):
        folder.mkdir()
    found = uploads.Uploads()
    assert not left.exists()
    assert all(folder.exists() for folder in others)
    found.close()
    for folder in others:
        folder.rmdir()


# --- what a model answers --------------------------------------------------------------------


def test_the_model_is_told_and_so_are_the_samples(served: Served) -> None:
    live = data(served, "/api/data/runs")["live"]
    assert live["loaded"]
    assert live["lead"] == "A picture of"
    assert "total" in live["rankings"]
    sample = live["samples"][0]
    status, headers, _ = ask(served, sample["url"])
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert result(served, kind="caption", photo={"sample": sample["name"]})["caption"]


def test_a_runs_photo_is_captioned_as_from_python(served: Served, run: Path, model: Any) -> None:
    found = result(served, kind="caption", photo={"run": "r0", "n": 1})
    assert found["caption"] == model.caption(run / "photos" / "1.jpg")
    assert found["photo"] == "/api/image/r0/1"
    assert found["grid"] == [4, 4]


def test_units_are_changed_as_from_python(served: Served, run: Path, model: Any) -> None:
    photo = {"run": "r0", "n": 0}
    names = [f"L{layer}.u{unit}" for layer in range(3) for unit in range(0, 48, 2)]
    found = result(
        served, kind="change", photo=photo, units=names, value={"scale": -3}, ask=["dog", "water"]
    )
    changed = Model(model).without(names, Scaled(-3))
    path = run / "photos" / "0.jpg"
    assert found["caption"] == changed.caption(path)
    assert found["before"] == model.caption(path)
    assert found["units"] == names
    there = changed.ask(path, ["dog", "water"]).probabilities
    assert [one["after"] for one in found["probabilities"]] == pytest.approx(there, rel=1e-4)
    assert found["random"]["units"] == len(names)
    assert {"before", "after", "random", "word", "token"} == set(found["probabilities"][0])


@pytest.mark.parametrize("name", ["change", "total", "contrast", "specific", "random", "raw"])
def test_units_are_chosen_by_a_set(served: Served, name: str) -> None:
    asked = {"set": name, "top": 9, "view": "patches"}
    found = result(served, kind="change", photo={"run": "r0", "n": 0}, units=asked, value="mean")
    assert len(found["units"]) == 9
    again = result(served, kind="change", photo={"run": "r0", "n": 0}, units=asked, value="mean")
    assert found == again


def test_a_transplant_is_that_of_python(served: Served, run: Path, model: Any) -> None:
    found = result(
        served,
        kind="transplant",
        **{"from": {"run": "r0", "n": 0}, "into": {"run": "r0", "n": 1}},
        patches=[0, 5],
        ask=["dog"],
    )
    paths = [run / "photos" / f"{n}.jpg" for n in (0, 1)]
    direct = transplant(model, *paths, patches=[0, 5], ask=["dog"], controls=True)
    assert direct.random is not None
    assert direct.third is not None
    assert found["caption"] == direct.caption
    assert found["units"] == direct.units
    assert found["edit_norm"] == pytest.approx(direct.edit_norm)
    assert found["third"]["name"] == direct.third.name
    assert found["random"]["edit_norm"] == pytest.approx(direct.random.edit_norm)
    row = found["probabilities"][0]
    assert row["after"] == pytest.approx(direct.answer.probabilities[0], rel=1e-4)
    assert row["third"] == pytest.approx(direct.third.answer.probabilities[0], rel=1e-4)


def test_a_photo_is_explained_as_a_runs_is_shown(served: Served) -> None:
    found = result(served, kind="explain", photo={"run": "r0", "n": 0}, words=["dog"])
    assert set(data(served, "/api/data/photo/r0/0")) == set(found)
    assert found["image"]["path"] == "guitar.jpg"
    assert "dog" in [one["word"] for one in found["image"]["words"]]
    assert found["fields"]


def test_who_comes_back_to_an_explanation_does_not_wait_for_it_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, ...]] = []
    real = explain.photo.explain_photo

    def counted(model: Any, photo: Any, settings: Settings, **more: Any) -> Any:
        made.append(tuple(settings.words))
        return real(model, photo, settings, **more)

    monkeypatch.setattr(explain.photo, "explain_photo", counted)
    asked: dict[str, Any] = {"kind": "explain", "photo": {"run": "r0", "n": 1}}
    first = result(served, **asked, words=["cat"])
    assert result(served, **asked, words=["cat"]) == first
    assert made == [("cat",)]
    others = [[], ["dog"], ["dog", "cat"], ["cat", "dog"]]
    found = [result(served, **asked, words=words) for words in others]
    assert first not in found
    assert result(served, **asked, words=others[-1]) == found[-1]
    result(served, **asked, words=["cat"])  # too many came between: it is made anew
    assert [words for words in made if words == ("cat",)] == [("cat",)] * 2
    assert len(made) == 6


def test_what_cannot_be_done_is_said(served: Served) -> None:
    photo = {"run": "r0", "n": 0}
    for units, said in (
        (["L99.u1"], "there is no unit L99.u1"),
        ({"set": "nonsense", "top": 3}, "there is no set"),
        ({"set": "raw", "top": 3, "word": "   "}, "a word to ask for is empty"),
    ):
        found = job(served, kind="change", photo=photo, units=units)
        assert found["state"] == "failed"
        assert said in found["error"]
    for body in (
        {"kind": "caption", "photo": {"run": "r0", "n": 2}},
        {"kind": "caption", "photo": {"run": "r5", "n": 0}},
        {"kind": "caption", "photo": {"sample": "../x"}},
        {"kind": "caption", "photo": {"upload": "gone"}},
    ):
        status, _, answer = ask(served, "/api/jobs", json.dumps(body).encode())
        assert status == 404
        assert json.loads(answer)["error"]
    assert ask(served, "/api/jobs/none")[0] == 404
    assert ask(served, "/api/jobs/none/cancel", b"")[0] == 404
    assert ask(served, "/api/jobs", b"x" * 2_000_000)[0] == 413


def test_two_tabs_wait_for_one_another_and_both_leave(served: Served, model: Any) -> None:
    body = {"kind": "explain", "photo": {"run": "r0", "n": 0}}
    first, second = (data(served, "/api/jobs", body)["job"] for _ in range(2))
    data(served, f"/api/jobs/{second}/cancel", {})
    data(served, f"/api/jobs/{first}/cancel", {})
    for name in (first, second):
        while (found := data(served, f"/api/jobs/{name}"))["state"] == "running":
            time.sleep(0.01)
        assert found["state"] in ("cancelled", "done")
    assert result(served, kind="caption", photo={"run": "r0", "n": 0})["caption"]
    assert count_hooks(model.language_model.model) == 0


def test_a_model_that_cannot_be_loaded_is_said(run: Path) -> None:
    def load() -> Any:
        raise WeightsError("the weights are not there; fetch them")

    with serve([run], load) as served:
        found = job(served, kind="caption", photo={"run": "r0", "n": 0})
        assert found["error"] == "the weights are not there; fetch them"
        told = data(served, "/api/data/runs")
        assert told["live"] is False
        assert told["live_error"] == "the weights are not there; fetch them"
        status, _, body = ask(served, f"/api/image/sample/{next(iter(sample_photos()))}")
        assert (status, json.loads(body)["error"]) == (503, told["live_error"])
        assert ask(served, "/api/image/upload/x")[0] == 404
        assert ask(served, "/api/image/sample/x")[0] == 404
        assert data(served, "/api/data/photo/r0/0")["image"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_model_has_seen_a_photo_before_it_is_said_to_be_loaded(
    run: Path, model: Any, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    begun, may = threading.Event(), threading.Event()
    real = sinks.patch_norms

    def first(*arguments: Any) -> Any:
        begun.set()
        assert may.wait(20)
        if fails:
            raise RuntimeError("of no account: a job will say so")
        return real(*arguments)

    monkeypatch.setattr(sinks, "patch_norms", first)
    with serve([run], lambda: model) as served:
        assert begun.wait(20)
        assert data(served, "/api/data/runs")["live"]["loaded"] is False
        may.set()
        while not data(served, "/api/data/runs")["live"]["loaded"]:
            time.sleep(0.01)
        assert result(served, kind="caption", photo={"run": "r0", "n": 1})["caption"]


def test_without_a_model_runs_are_shown_and_nothing_is_taken(run: Path) -> None:
    with serve([run], None) as served:
        assert data(served, "/api/data/runs")["live"] is False
        assert ask(served, "/api/jobs", b"{}")[0] in (404, 405)
        assert ask(served, "/api/photos", b"{}")[0] in (404, 405)
        for path in ("upload/x", "sample/x"):
            status, _, body = ask(served, f"/api/image/{path}")
            assert status == 404
            assert "there is no model here" in json.loads(body)["error"]


def test_without_an_atlas_of_the_model_that_is_said(served: Served) -> None:
    status, _, body = ask(served, "/api/atlas/search?q=water")
    assert status == 404
    assert "atlas build" in json.loads(body)["error"]
    assert ask(served, "/api/atlas/search?q=water&limit=x")[0] == 422


# --- the command -----------------------------------------------------------------------------


def test_the_command_refuses_what_it_cannot_show(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        assert main(["explore", *arguments]) not in (0, None)
        return capsys.readouterr().err

    assert "is not there" in said(str(tmp_path / "none"))
    assert "explain.json" in said(str(tmp_path))
    assert "nothing to show" in said("--no-live")
    assert "nothing to write" in said("--export", str(tmp_path / "new"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    assert "already holds something" in said(str(run), "--export", str(tmp_path / "full"))
    assert "there is no preset" in said(str(run), "--preset", "none-such")
    with listen(None) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot serve at port {port}" in said(str(run), "--no-live", "--port", port)


def test_the_command_serves_until_it_is_ended(run: Path) -> None:
    command = [sys.executable, "-m", "molyneux", "explore", str(run), "--no-live"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    served = Served(address, address.partition("token=")[2])
    assert data(served, "/api/data/runs")["runs"][0]["kind"] == "explain"
    assert b"molyneux" in ask(served, "/")[2]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "until Ctrl-C" in errors
