"""Does a begin token ahead of the patches keep them from becoming attention sinks?

    python benchmarks/prompt_layout.py PHOTOS.txt PROJECTION [PROJECTION ...]

The projections should be trained alike, with and without one. For each: patches that are sinks,
the norm of the first patch, and how much the raw top 100 of different photos overlap.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np

from molyneux.data.folder import photos_in
from molyneux.models.captioner import Captioner
from molyneux.models.parts import Parts
from molyneux.models.presets import find_preset
from molyneux.neurons.attribution import VIEWS, attribute_units
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import read_sentence
from molyneux.neurons.unit import top_units
from molyneux.vision.projection import load_projection


def main() -> None:
    photos = photos_in(Path(sys.argv[1]))[:16]
    parts = Parts.load(find_preset("smollm2-effnet"))
    for path in sys.argv[2:]:
        captioner = Captioner.join(parts, load_projection(Path(path)))
        model = captioner.language_model
        ratios, sinks, tops = [], [], {view: [] for view in VIEWS}
        for photo in photos:
            prompt = captioner.see([photo])
            norms = patch_norms(model, prompt)
            ratio = (norms / norms.median(dim=2, keepdim=True).values).amax(dim=1)[0]
            ratios.append(ratio.numpy())
            sinks.append(sink_patches(norms)[0].numpy())
            sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
            if not sentence.words:
                continue
            word = sentence.words[0].target
            until = sentence.up_to(model, prompt, word.position)
            attribution = attribute_units(model, until, [word])
            for view in VIEWS:
                tops[view].append(set(top_units(attribution.view(view).score[0], 100)))
        summary = {
            "begin": captioner.layout.begin,
            "photos": len(photos),
            "sink_patches_per_photo": float(np.sum(sinks, axis=1).mean()),
            "first_patch_is_sink": float(np.stack(sinks)[:, 0].mean()),
            "first_patch_norm_over_median": float(np.median(np.stack(ratios)[:, 0])),
            "largest_other_norm_over_median": float(np.median(np.stack(ratios)[:, 1:].max(axis=1))),
            "overlap_of_top_100": {
                view: float(np.mean([len(a & b) for a, b in itertools.combinations(sets, 2)]))
                for view, sets in tops.items()
            },
        }
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
