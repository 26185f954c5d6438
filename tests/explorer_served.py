"""An explorer that is served, and tabs of a browser that look at it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 20_000  # milliseconds: what is waited for takes far less where cores are free


@dataclass(frozen=True)
class Served:
    """An explorer that is served.

    Attributes:
        address: with its token.
        token: of its own.
    """

    address: str
    token: str

    def at(self, view: str) -> str:
        return f"{self.address}{view}"

    @property
    def origin(self) -> str:
        return self.address.partition("/?")[0]


@contextmanager
def serve(
    runs: list[Path], load: Callable[[], Any] | None, pictures: Any = None
) -> Iterator[Served]:
    """Serve an explorer on another thread, and end it."""
    import uvicorn

    from molyneux.explore.explorer import address_of, explorer
    from molyneux.explore.serve import listen
    from molyneux.pages.runs import open_runs

    opened = open_runs(runs)
    with explorer(opened, load, None, pictures) as (app, token), listen(None) as at:
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="off", ws="none", access_log=False)
        )
        thread = threading.Thread(target=server.run, args=([at],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield Served(address_of(at, token), token)
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Tabs:
    """Opens tabs, and keeps what they asked of which host and what went wrong in them.

    Attributes:
        asked: hosts.
        pages: files that were opened as pages.
        files: files that pages asked for.
    """

    browser: Any
    closing: ExitStack
    asked: set[str]
    wrong: list[str]
    pages: set[Path] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)

    def open(self, address: str | None = None, **options: Any) -> Any:
        """Return a tab of its own browser profile."""
        context = self.browser.new_context(
            **({"viewport": {"width": 1280, "height": 900}} | options)
        )
        self.closing.callback(context.close)
        context.set_default_timeout(PATIENCE)
        return self.beside(context, address)

    def beside(self, context: Any, address: str | None = None) -> Any:
        """Return another tab of a profile."""
        tab = context.new_page()
        tab.on("request", self._keep)
        tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        tab.on(
            "console",
            lambda said: self.wrong.append(said.text) if said.type == "error" else None,
        )
        if address is not None:
            tab.goto(address)
            tab.wait_for_selector("main h1, main h2, main .caption, main .error")
        return tab

    def _keep(self, request: Any) -> None:
        address = urlsplit(request.url)
        self.asked.add(address.netloc)
        if address.scheme == "file":
            kept = self.pages if request.is_navigation_request() else self.files
            kept.add(Path(unquote(address.path)).resolve())


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; the page's own policy lets no browser evaluate a condition."""
    end = time.monotonic() + PATIENCE / 1000
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def until_address(tab: Any, holds: str) -> None:
    """Wait until a tab's address has a part."""
    until(lambda: holds in tab.evaluate("location.href"))
