"""Packages that a user installs to add to this one: loaders, scorers, experiments, metrics.

Such a package names, in its own `pyproject.toml`, what registers its parts:

    [project.entry-points.molyneux]
    whatever = "its_package.its_module"

The module is imported the first time that something is looked up which a package may have added;
what it calls, such as `molyneux.data.open.register_dataset`, is the door. Where the entry point
names a function (`"its_package.its_module:register"`), that is called, without arguments.
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points

from molyneux.errors import UsageError, quote

GROUP = "molyneux"
_done: set[tuple[str, str]] = set()
_failed: dict[tuple[str, str], str] = {}


def load_plugins() -> None:
    """Load every entry point of the group `molyneux`, each once in a process.

    Raises:
        UsageError: one cannot be loaded; the line names it and its package. The others are loaded
            all the same, and every later call says the line again.
    """
    try:
        points = entry_points(group=GROUP)
    except Exception as error:  # an entry_points.txt that does not read, of whatever package
        raise UsageError(
            f"the entry points of the installed packages do not read ({type(error).__name__}: "
            f"{quote(error)}); `pip check` may say which is broken"
        ) from error
    for point in points:
        key = (point.name, point.value)
        if key in _done or key in _failed:
            continue
        _done.add(key)  # first, since what is being loaded may look something up itself
        try:
            loaded = point.load()
            if inspect.isroutine(loaded):
                loaded()
        except (Exception, SystemExit) as error:
            _done.remove(key)
            _failed[key] = (
                f"cannot load the entry point {point.name} = {point.value}{_of(point)}: "
                f"{type(error).__name__}: {quote(error)}; mend or uninstall that package"
            )
    if _failed:
        raise UsageError(next(iter(_failed.values())))


def _of(point: EntryPoint) -> str:
    return f" of the package {point.dist.name}" if point.dist else ""
