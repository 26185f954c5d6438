"""The end of a study: its tables, results, units and page, all from the parts."""

from __future__ import annotations

from molyneux.store import Run
from molyneux.studies.collect import read_study, write_table, write_tables
from molyneux.studies.derived.multimodal import funnel, units_table
from molyneux.studies.derived.replication import replicate
from molyneux.studies.e5_selectivity.experiment import summarise_labelled
from molyneux.studies.registry import SELECTIVITY, load_experiments
from molyneux.studies.tables import Result

RESULTS = "results"


def conclude(run: Run) -> list[Result]:
    """Return the study's results, all written to its folder: tables, results, units.

    Raises:
        RunError: a part is damaged, or the folder cannot be written.
    """
    study = read_study(run.folder)
    results: list[Result] = []
    if study.n_photos:
        write_tables(run, study)
        results += [e.summarise(study) for e in load_experiments(study.settings.experiments)]
    if SELECTIVITY in study.settings.experiments:
        found = summarise_labelled(run.folder, study.settings)
        if found is not None:
            result, units = found
            results.append(result)
            write_table(run, "e5_units", units)
            study.measured["e5_units"] = units
    if study.settings.subsets and study.n_photos >= study.settings.subsets * 2:
        results.append(replicate(study, study.settings.subsets))
    if "e2_units" in study.measured:
        units = units_table(study)
        write_table(run, "units", units)
        results.append(Result("U", "What is a multimodal neuron?", (funnel(units),)))
    results.sort(key=lambda result: result.experiment)
    for result in results:
        run.write_json(f"{RESULTS}/{result.experiment}.json", result.document())
    return results
