"""Molyneux: find, decode and switch off the neurons that let a text-only language model see.

Everything public is here. Importing costs nothing: torch and transformers are loaded when a name
that needs them is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from molyneux.adapters import (
        EncoderFamily,
        Family,
        LanguageModel,
        VisionFamily,
        adapt,
        register_encoder_family,
        register_family,
        register_vision_family,
    )
    from molyneux.adapters.proof.prove import prove
    from molyneux.atlas.reading import Atlas, open_atlas
    from molyneux.checkpoints.encoders import load_encoder
    from molyneux.checkpoints.language_models import load_language_model
    from molyneux.data.annotated import AnnotatedPhotos
    from molyneux.data.dataset import Item
    from molyneux.data.loader import Loader, in_folder
    from molyneux.data.open import open_dataset, register_dataset
    from molyneux.data.selection import select
    from molyneux.errors import MolyneuxError
    from molyneux.explain.document import read_document
    from molyneux.explain.measure_reference import measure_reference
    from molyneux.explain.measure_trust import TrustPhotos, measure_trust
    from molyneux.explain.photo import explain_photo
    from molyneux.explain.run import explain_photos
    from molyneux.explain.settings import Settings
    from molyneux.model import Model, load
    from molyneux.models.captioner import Captioner
    from molyneux.models.parts import Parts
    from molyneux.models.trust import TrustScale, load_trust
    from molyneux.models.vlm import VisionLanguageModel
    from molyneux.models.vlm_loading import load_vlm
    from molyneux.neurons.ablation import Intervention, Scaled, ablate_units, intervened_logits
    from molyneux.neurons.attribution import Target, attribute_products, attribute_units
    from molyneux.neurons.decoding import decode_units, find_writers
    from molyneux.neurons.decoding_rule import Decoding
    from molyneux.neurons.effects import Effects, unit_effects
    from molyneux.neurons.rankings import Ranked, rank_units
    from molyneux.neurons.receptive_fields import receptive_fields
    from molyneux.neurons.reference import load_reference
    from molyneux.neurons.scorers import (
        Context,
        Cost,
        GradientActivation,
        Scorer,
        find_scorer,
        register_scorer,
    )
    from molyneux.neurons.targets import read_sentence
    from molyneux.neurons.unit import Unit, top_units
    from molyneux.neurons.unit_sets import UnitSet
    from molyneux.studies.experiment import Experiment, Needs, register_experiment
    from molyneux.studies.folder import Study
    from molyneux.studies.results import Result, ResultTable, over_photos
    from molyneux.studies.settings import StudySettings
    from molyneux.studies.study import run_study
    from molyneux.training.caption_files import load_examples
    from molyneux.training.recipe import Recipe
    from molyneux.training.run import train_projection
    from molyneux.training.run_folder import open_training_run
    from molyneux.vision.layout import Layout
    from molyneux.vision.projection import load_projection, save_projection

_PLACES = {
    "AnnotatedPhotos": "data.annotated",
    "Atlas": "atlas.reading",
    "Captioner": "models.captioner",
    "Context": "neurons.scorers",
    "Cost": "neurons.scorers",
    "Decoding": "neurons.decoding_rule",
    "Effects": "neurons.effects",
    "EncoderFamily": "adapters",
    "Experiment": "studies.experiment",
    "Family": "adapters",
    "GradientActivation": "neurons.scorers",
    "Intervention": "neurons.ablation",
    "Item": "data.dataset",
    "LanguageModel": "adapters",
    "Layout": "vision.layout",
    "Loader": "data.loader",
    "Model": "model",
    "MolyneuxError": "errors",
    "Needs": "studies.experiment",
    "Parts": "models.parts",
    "Ranked": "neurons.rankings",
    "Recipe": "training.recipe",
    "Result": "studies.results",
    "ResultTable": "studies.results",
    "Scaled": "neurons.ablation",
    "Scorer": "neurons.scorers",
    "Settings": "explain.settings",
    "Study": "studies.folder",
    "StudySettings": "studies.settings",
    "Target": "neurons.attribution",
    "TrustPhotos": "explain.measure_trust",
    "TrustScale": "models.trust",
    "Unit": "neurons.unit",
    "UnitSet": "neurons.unit_sets",
    "VisionFamily": "adapters",
    "VisionLanguageModel": "models.vlm",
    "ablate_units": "neurons.ablation",
    "adapt": "adapters",
    "attribute_products": "neurons.attribution",
    "attribute_units": "neurons.attribution",
    "decode_units": "neurons.decoding",
    "explain_photo": "explain.photo",
    "explain_photos": "explain.run",
    "find_scorer": "neurons.scorers",
    "find_writers": "neurons.decoding",
    "in_folder": "data.loader",
    "intervened_logits": "neurons.ablation",
    "load": "model",
    "load_encoder": "checkpoints.encoders",
    "load_examples": "training.caption_files",
    "load_language_model": "checkpoints.language_models",
    "load_projection": "vision.projection",
    "load_reference": "neurons.reference",
    "load_trust": "models.trust",
    "load_vlm": "models.vlm_loading",
    "measure_reference": "explain.measure_reference",
    "measure_trust": "explain.measure_trust",
    "open_atlas": "atlas.reading",
    "open_dataset": "data.open",
    "open_training_run": "training.run_folder",
    "over_photos": "studies.results",
    "prove": "adapters.proof.prove",
    "rank_units": "neurons.rankings",
    "read_document": "explain.document",
    "read_sentence": "neurons.targets",
    "receptive_fields": "neurons.receptive_fields",
    "register_dataset": "data.open",
    "register_encoder_family": "adapters",
    "register_experiment": "studies.experiment",
    "register_family": "adapters",
    "register_scorer": "neurons.scorers",
    "register_vision_family": "adapters",
    "run_study": "studies.study",
    "save_projection": "vision.projection",
    "select": "data.selection",
    "top_units": "neurons.unit",
    "train_projection": "training.run",
    "unit_effects": "neurons.effects",
}

__all__ = [
    "AnnotatedPhotos",
    "Atlas",
    "Captioner",
    "Context",
    "Cost",
    "Decoding",
    "Effects",
    "EncoderFamily",
    "Experiment",
    "Family",
    "GradientActivation",
    "Intervention",
    "Item",
    "LanguageModel",
    "Layout",
    "Loader",
    "Model",
    "MolyneuxError",
    "Needs",
    "Parts",
    "Ranked",
    "Recipe",
    "Result",
    "ResultTable",
    "Scaled",
    "Scorer",
    "Settings",
    "Study",
    "StudySettings",
    "Target",
    "TrustPhotos",
    "TrustScale",
    "Unit",
    "UnitSet",
    "VisionFamily",
    "VisionLanguageModel",
    "ablate_units",
    "adapt",
    "attribute_products",
    "attribute_units",
    "decode_units",
    "explain_photo",
    "explain_photos",
    "find_scorer",
    "find_writers",
    "in_folder",
    "intervened_logits",
    "load",
    "load_encoder",
    "load_examples",
    "load_language_model",
    "load_projection",
    "load_reference",
    "load_trust",
    "load_vlm",
    "measure_reference",
    "measure_trust",
    "open_atlas",
    "open_dataset",
    "open_training_run",
    "over_photos",
    "prove",
    "rank_units",
    "read_document",
    "read_sentence",
    "receptive_fields",
    "register_dataset",
    "register_encoder_family",
    "register_experiment",
    "register_family",
    "register_scorer",
    "register_vision_family",
    "run_study",
    "save_projection",
    "select",
    "top_units",
    "train_projection",
    "unit_effects",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("molyneux")
    if name not in _PLACES:
        raise AttributeError(f"module 'molyneux' has no attribute {name!r}")
    return getattr(import_module(f"molyneux.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
