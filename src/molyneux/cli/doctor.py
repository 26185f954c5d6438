"""`molyneux doctor`: is everything what it claims to be?"""

from __future__ import annotations

from molyneux.cli.app import app
from molyneux.cli.options import DEFAULT_PRESET, AsJson, Preset, note, show, show_json


@app.command()
def doctor(as_json: AsJson = False, preset: Preset = DEFAULT_PRESET) -> int:
    """Verify the cached weights in full, prove the adapter by intervention, print versions."""
    from molyneux.adapters.proof import Check, prove
    from molyneux.errors import MolyneuxError
    from molyneux.models.cache import cache_dir, verify_folder
    from molyneux.models.captioner import Captioner
    from molyneux.models.presets import find_preset
    from molyneux.store import versions

    chosen = find_preset(preset)
    checks: list[Check] = []
    try:
        captioner = Captioner.load(preset, note=note)
        for folder in chosen.folders:
            verify_folder(cache_dir() / folder, full=True)
            checks.append(Check(f"weights in {folder}", True, "every sha256 as recorded"))
        checks += prove(captioner.language_model)
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
