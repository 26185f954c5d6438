"""What a checkpoint is, where it was given as a part of another kind."""

from __future__ import annotations

LANGUAGE_MODEL, ENCODER, VISION_LANGUAGE = "language model", "encoder", "vision-language model"


def known_as_another(model_type: str, wanted: str) -> str | None:
    """Return one line that says what a `model_type` is and where to give it, else None.

    A folder given in the wrong place is the likelier mistake than an architecture without a row.

    Args:
        wanted: which of the three kinds it was given as.
    """
    from molyneux.adapters.encoder_families import ENCODER_FAMILIES
    from molyneux.adapters.families import FAMILIES
    from molyneux.adapters.vlm_families import VISION_FAMILIES

    rows = {LANGUAGE_MODEL: FAMILIES, ENCODER: ENCODER_FAMILIES, VISION_LANGUAGE: VISION_FAMILIES}
    where = {
        LANGUAGE_MODEL: "as --language-model, or with load_language_model",
        ENCODER: "as --encoder, or with load_encoder",
        VISION_LANGUAGE: "as --vlm, or with load_vlm",
    }
    for kind, families in rows.items():
        for family in families:  # type: ignore[attr-defined]
            if kind != wanted and model_type in family.model_types:
                article = "an" if kind == ENCODER else "a"
                return (
                    f"a model of type {model_type!r} ({family.name}) is {article} {kind}, and was "
                    f"given as {'an' if wanted == ENCODER else 'a'} {wanted}; give it {where[kind]}"
                )
    return None
