"""`molyneux report`: the page of a run."""

from __future__ import annotations

from molyneux.cli.options import AsJson, Opens, RunFolder, open_page
from molyneux.cli.output import show, show_json


def report(
    run: RunFolder,
    opens: Opens = False,
    as_json: AsJson = False,
) -> int:
    """Write a run's page again. Needs the run folder alone, no model."""
    from molyneux.pages.one_file import write_report

    page = write_report(run)
    if as_json:
        show_json({"report": str(page)})
    else:
        show(str(page))
    if opens:
        open_page(page)
    return 0
