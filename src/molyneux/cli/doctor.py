"""`molyneux doctor`: is everything what it claims to be?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molyneux.cli.model_choice import SEES, ModelChoice, takes_model
from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json
from molyneux.models import DEFAULT_PRESET

if TYPE_CHECKING:
    from molyneux.adapters.proof.prove import Check
    from molyneux.models.presets import Piece, Preset
    from molyneux.models.seeing_model import SeeingModel


@dataclass
class _Given:
    """What the command was called with."""

    model: ModelChoice
    chosen: Preset | None = None
    missing: list[Piece] = field(default_factory=list)

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of the cache that hold what is used of the preset."""
        if self.chosen is None:
            return ()
        # What a hub-sized preset keeps there is its projection alone.
        replaced = self.chosen.published is not None and self.model.projection is not None
        return () if replaced else self.chosen.folders

    @property
    def whole(self) -> bool:
        """Whether photos can be seen: all parts are here, or given."""
        if self.chosen is None:
            return (self.model.encoder, self.model.vlm) != (None, None)
        return self.chosen.gives_encoder and not self.missing


@takes_model(*SEES)
def doctor(
    model: ModelChoice,
    fixtures: Annotated[
        bool,
        typer.Option("--fixtures", help="Compare GPT-J's units with those the paper prints."),
    ] = False,
    coco: Annotated[
        Path | None,
        typer.Option("--coco", help="With --fixtures: COCO's val2017, for captions and fields."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Verify weights, prove the adapter, print versions. All weights are read again in full."""
    from molyneux.errors import UsageError
    from molyneux.models.presets import find_preset, pieces_of

    model.require_alternatives()
    given = _Given(model)
    if (model.language_model, model.encoder, model.vlm) == (None, None, None):
        given.chosen = find_preset(model.preset or DEFAULT_PRESET)
        if given.chosen.published is not None:
            pieces = [piece for piece in pieces_of(given.chosen) if piece.mb]
            replaced = () if model.projection is None else ("projection",)
            given.missing = [p for p in pieces if not p.here and p.part not in replaced]
    other = given.chosen is not None and given.chosen.published is None
    if fixtures and (other or model.vlm is not None):
        raise UsageError("the fixtures are GPT-J's; choose --preset gptj-beit, or its parts")
    if coco is not None and not fixtures:
        raise UsageError("--coco goes with --fixtures; give both")
    if coco is not None and not coco.is_dir():
        raise UsageError(f"there is no folder {coco}; give --coco COCO's folder of val2017")
    needed = [p for p in given.missing if p.part == "language model" or not fixtures]
    if needed or (coco is not None and given.missing):
        return _say_missing(given, as_json)
    model.begin(sees=given.whole and not fixtures)
    return _check_fixtures(given, coco, as_json) if fixtures else _check_parts(given, as_json)


def _say_missing(given: _Given, as_json: bool) -> int:
    assert given.chosen is not None
    if as_json:
        rows = [
            {"part": p.part, "source": p.source, "mb": p.mb, "get": p.how} for p in given.missing
        ]
        show_json({"healthy": False, "missing": rows})
        return 1
    total = sum(piece.mb for piece in given.missing)
    show(f"{given.chosen.name}: {len(given.missing)} parts are missing, {total:,} MB in all")
    for piece in given.missing:
        show(f"  {piece.part}: {piece.source}, {piece.mb:,} MB; {piece.how}")
    show("  nothing was fetched; the unit fixtures need the language model alone")
    return 1


def _check_parts(given: _Given, as_json: bool) -> int:
    from molyneux.adapters.proof.prove import Check, prove
    from molyneux.errors import MolyneuxError, UsageError
    from molyneux.store import versions
    from molyneux.vision.projection import load_projection
    from molyneux.weights.cache import cache_dir, verify_folder

    checks: list[Check] = []
    try:
        if given.whole:
            seeing = given.model.load()
            language = seeing.language_model
            checks += _check_patches(seeing)
        else:
            language, _ = given.model.load_language()
            if given.chosen is not None and given.chosen.published is not None:
                load_projection(given.model.projection or given.chosen.projection_file())
        for folder in given.folders:
            verify_folder(cache_dir() / folder, full=True)
            checks.append(Check(f"weights in {folder}", True, "every sha256 as recorded"))
        checks += prove(language)
    except UsageError:
        raise  # the call is wrong, not the weights
    except MolyneuxError as error:
        checks.append(Check("weights", False, str(error)))
    healthy = all(check.holds for check in checks)
    if as_json:
        rows = [{"claim": c.claim, "holds": c.holds, "measured": c.measured} for c in checks]
        show_json({"healthy": healthy, "checks": rows, "versions": versions()})
    else:
        for check in checks:
            show(f"{'ok  ' if check.holds else 'FAIL'}  {check.claim}: {check.measured}")
        show("")
        for name, version in versions().items():
            show(f"{name}: {version}")
    return int(not healthy)


def _check_patches(seeing: SeeingModel) -> list[Check]:
    """Return whether a vision-language model's patches lie where its family's row says."""
    from molyneux.adapters.proof.prove import Check
    from molyneux.models.vlm import VisionLanguageModel
    from molyneux.models.vlm_proof import prove_patches

    if not isinstance(seeing, VisionLanguageModel):
        return []  # the encoder's own class says where its patches are
    checks = prove_patches(seeing)
    held = sum(check.holds for check in checks)
    # Trained vision networks keep notes about the whole photo in some patches.
    return [
        Check(
            "patches lie where the family's row says",
            held > len(checks) / 2,
            f"of {len(checks)} patches under which the photo was changed, {held} moved furthest",
        )
    ]


def _check_fixtures(given: _Given, coco: Path | None, as_json: bool) -> int:
    from dataclasses import asdict

    from molyneux.fixtures.photos import check_photos
    from molyneux.fixtures.units import Option, check_units, load_fixtures, verdict
    from molyneux.models.presets import PRESETS

    printed = load_fixtures()
    captioner = None
    if coco is not None:
        from molyneux.data.open import open_dataset

        photos = open_dataset(coco)
        captioner = given.model.load()
        language = captioner.language_model
    else:
        language, _ = given.model.load_language()
    outcomes = check_units(language, printed)
    default = Option.of(PRESETS["gptj-beit"].decoding)
    passed, said = verdict(outcomes, default)
    found = [] if captioner is None else check_photos(captioner, photos, printed, note)
    healthy = passed and all(outcome.holds is not False for outcome in found)
    if as_json:
        show_json(
            {
                "healthy": healthy,
                "verdict": said,
                "options": [_option(outcome, asdict(outcome.option)) for outcome in outcomes],
                "photos": [asdict(outcome) for outcome in found],
            }
        )
        return int(not healthy)
    show(f"units printed in {printed.source}, by how they are decoded:")
    n, n_bare = len(printed.units), len(printed.undecodable)
    for outcome in outcomes:
        which = " (default of the presets)" if outcome.option == default else ""
        show(
            f"  {outcome.option}{which}: "
            f"{outcome.n_hold} of {n} with all printed tokens among ten, {outcome.n_in_order} "
            f"first and in order; {len(outcome.undecodable)} of {n_bare} undecodable ones so"
        )
    for unit in next(o for o in outcomes if o.option == default).units:
        if not unit.holds:
            show(f"  {unit.unit}: printed {' '.join(unit.printed)}; {' '.join(unit.tokens)}")
    for photo in found:
        mark = {True: "ok  ", False: "FAIL", None: "-   "}[photo.holds]
        show(f"{mark}  {photo.what}: printed {photo.printed}, found {photo.found}")
    show(said)
    return int(not healthy)


def _option(outcome: Any, option: dict[str, Any]) -> dict[str, Any]:
    return {
        **option,
        "passes": outcome.passes,
        "hold": outcome.n_hold,
        "in_order": outcome.n_in_order,
        "undecodable": [str(unit) for unit in outcome.undecodable],
        "units": [
            {"unit": str(unit.unit), "printed": unit.printed, "tokens": unit.tokens}
            for unit in outcome.units
        ],
    }
