"""One photo's units in another photo's patches: what is written then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from molyneux.checks import several, whole_number
from molyneux.errors import UsageError
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.ablation import Intervention, intervened
from molyneux.neurons.change import change_scores
from molyneux.neurons.checks import as_units
from molyneux.neurons.sight.edits import edit_norm, require_same_patches
from molyneux.neurons.sight.forms import FRACTION
from molyneux.neurons.sight.measure import n_patches
from molyneux.neurons.sight.patch_sets import all_units, change_set
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.photo import Photo, photo_name


@dataclass(frozen=True)
class Transplanted:
    """What is written behind a photo into whose patches another photo's units were put.

    Attributes:
        caption: with them, without the prompt's text.
        before: of the photo as it is.
        units: how many were put there.
        edit_norm: how much that changes what they write (`neurons.sight.edits.edit_norm`).
    """

    caption: str
    before: str
    units: int
    edit_norm: float

    def __repr__(self) -> str:
        return f"<{self.units} units: {self.before!r} becomes {self.caption!r}>"


def transplant(
    seeing: SeeingModel,
    from_photo: Photo,
    into: Photo,
    units: str | Sequence[Unit | str] = "change",
    patches: Sequence[int] | None = None,
) -> Transplanted:
    """Return what is written behind `into` with the values that units have at `from_photo`.

    They are written at every layer at once, into the same patches, sinks included; nothing is
    changed at the text.

    Args:
        units: `change`, the 5 % whose activation in `from_photo` is farthest from reference
            photos'; `all` of all layers but the last; or a list.
        patches: the numbers of those to be written into, row by row; all if None.

    Raises:
        PhotoError: a photo cannot be read.
        UsageError: there is no such unit or patch, the photos have different numbers of patches,
            or `change` is asked for without a reference table that holds activations.
    """
    model = seeing.language_model
    source, there = seeing.see([from_photo]), seeing.see([into])
    count = n_patches(there)
    require_same_patches(n_patches(source), count, photo_name(into))
    numbers = range(count) if patches is None else several("patches", patches, "[0, 8]", least=1)
    chosen = [whole_number("a patch's number", one, least=0, below=count) for one in numbers]
    values, before = patch_activations(model, source), patch_activations(model, there)
    if isinstance(units, str) and units == "change":
        table = seeing.reference
        if table is None or table.activation is None:
            raise UsageError(
                "units that a photo changes are known by a reference table with activations; "
                "measure one with `molyneux reference DATA`, or give units or 'all'"
            )
        sinks = sink_patches(patch_norms(model, source))[0]
        z = change_scores(values, table.activation.mean, table.activation.deviation, sinks)
        mask = change_set(z, FRACTION).mask
    elif isinstance(units, str) and units == "all":
        mask = all_units(model.n_layers, model.d_mlp).mask
    else:
        mask = unit_mask(as_units(model, units), model.n_layers, model.d_mlp)
    places = tuple(there.patches.start + patch for patch in chosen)
    with intervened(model, [Intervention(mask, places, values)], there.patches):
        written = seeing.write(there)[0]
    change = torch.zeros_like(values)
    change[:, chosen] = (values - before)[:, chosen]
    return Transplanted(
        model.decode(written).strip(),
        model.decode(seeing.write(there)[0]).strip(),
        int(mask.sum()),
        edit_norm(model, mask, change),
    )
