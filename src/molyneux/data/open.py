"""Which loader reads a data set, the surest of what lies there; `register_dataset` adds one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from molyneux.checks import is_a
from molyneux.data import coco, flickr30k, folder, hub, imagenet, open_images, webdataset
from molyneux.data.dataset import Dataset
from molyneux.data.loader import Loader, Sure
from molyneux.errors import MolyneuxError, UsageError, quote
from molyneux.plugins import load_plugins
from molyneux.vision.photo import is_address, why_odd

if TYPE_CHECKING:
    Place = str | os.PathLike[str]
else:  # what names no place gets a line of its own
    Place = object

# Of two that are equally sure the first reads the place.
BUILT_IN = {
    loader.kind: loader
    for loader in (
        coco.LOADER,
        flickr30k.LOADER,
        imagenet.LOADER,
        hub.LOADER,
        open_images.LOADER,
        webdataset.LOADER,
        folder.LOADER,
        folder.LIST_LOADER,
        folder.CAPTIONS_LOADER,
    )
}

_ADDED: dict[str, Loader] = {}


def register_dataset(loader: Loader) -> Loader:
    """Add a loader, for `open_dataset` and for every command; return it.

    Of loaders that are equally sure of a place, those added come before those of the package, in
    the order in which they were added. A package that is installed adds its own by an entry point
    of the group `molyneux`: see `molyneux.plugins`.

    Raises:
        UsageError: it is no loader, or one of its kind is there.
    """
    if not isinstance(loader, Loader):
        raise UsageError(
            f"register_dataset takes a Loader, not {type(loader).__name__}; make one of its kind, "
            "what it is known by, what recognises it and what opens it"
        )
    if not loader.kind.strip() or loader.kind in {**_ADDED, **BUILT_IN}:
        raise UsageError(
            f"a loader of the kind {loader.kind!r} is there already, or cannot be asked for; give "
            "the new one another name"
        )
    _ADDED[loader.kind] = loader
    return loader


def loaders() -> dict[str, Loader]:
    """Return every loader by kind: those that were added, then those of the package.

    Raises:
        UsageError: an installed package that would add one cannot be loaded.
    """
    load_plugins()
    return {**_ADDED, **BUILT_IN}


def open_dataset(spec: Place, *, kind: str | None = None) -> Dataset:
    """Return the data set at a place, read by the loader that its layout asks for.

    Args:
        spec: a folder, a `.txt` list, a caption file, a shard or a pattern of shards, a parquet
            file, or `hf:NAME` for one on the Hugging Face hub.
        kind: one of `loaders()`, where the layout could be read in two ways.

    Raises:
        UsageError: there is no such place, no such kind, or what the kind needs is missing; the
            message says what is missing and where it is had from.
    """
    place = _as_place(spec)
    known = loaders()
    if kind is not None:
        kind = is_a("kind", kind, str, "a name, as coco")
    if kind is not None and kind not in known:
        raise UsageError(f"no kind of data set is called {kind}; there are {', '.join(known)}")
    loader = known[kind or kind_of(place)]
    if loader.kind in BUILT_IN:
        return loader.open(place)
    try:
        dataset = loader.open(place)
    except MolyneuxError:
        raise
    except Exception as error:  # of a package that was added
        raise UsageError(
            f"the loader of the kind {loader.kind} failed to open {place} "
            f"({type(error).__name__}: {quote(error)}); mend or uninstall its package"
        ) from error
    return is_a(f"what the loader of the kind {loader.kind} opens", dataset, Dataset, "one")  # type: ignore[type-abstract]


def is_place(spec: str) -> bool:
    """Whether it looks like a data set's place, there or not, rather than like a set's name."""
    return any(c in spec for c in "/\\.*{:") or os.path.exists(spec)


def kind_of(spec: Place) -> str:
    """Return which kind of data set a place looks like.

    Raises:
        UsageError: there is no such place, nothing in it is known, or a loader that was added
            failed to look at it.
    """
    spec = _as_place(spec)
    surest, found = Sure.NO, None
    for loader in loaders().values():
        try:
            sure = Sure(loader.recognises(spec))
        except MolyneuxError:
            raise
        except OSError as error:
            raise UsageError(
                f"cannot read {spec}: {error.strerror or quote(error)}; check the name"
            ) from error
        except Exception as error:
            raise UsageError(
                f"the loader of the kind {loader.kind} failed to look at {spec} "
                f"({type(error).__name__}: {quote(error)}); name another with --kind"
            ) from error
        if sure > surest:
            surest, found = sure, loader.kind
    if found is None:
        raise UsageError(_why_unknown(spec))
    return found


def _as_place(spec: Place) -> str | Path:
    if isinstance(spec, os.PathLike):
        spec = Path(os.fsdecode(spec))
    if not isinstance(spec, str | Path) or not str(spec):
        raise UsageError(
            f"a data set is named by a path or a text, not {spec!r:.40}; name its folder"
        )
    try:
        os.stat(spec)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it may be a pattern or an address
    except (OSError, ValueError) as error:  # a name that is too long, or that no file can have
        reason = error.strerror if isinstance(error, OSError) else None
        raise UsageError(
            f"cannot read {str(spec)[:200]}: {reason or quote(error)}; check the name"
        ) from error
    return spec


def _why_unknown(spec: str | Path) -> str:
    from molyneux.data.catalogue import CATALOGUE

    name, place = str(spec), Path(spec)
    what_there_is = "; or ".join(f"{one.known_by} ({one.kind})" for one in loaders().values())
    if place.is_dir():
        why = folder.why_no_photos(place)
        return f"nothing in {place} is known{why}; a data set has {what_there_is}"
    if place.exists():
        return f"{place} is no data set; give {what_there_is}"
    if name.lower() in CATALOGUE:
        return (
            f"there is no folder {name}; `molyneux data {name.lower()}` says how to get that "
            "set, and then name its folder"
        )
    if is_address(name):
        return (
            f"{name} is an address, and addresses are not fetched; download the set, or `hf:NAME`"
        )
    odd = why_odd(name)
    return (
        f"there is no {name}; {odd + '; ' if odd else ''}name a data set's folder, or `hf:NAME` on "
        "the hub"
    )
