"""Any allowed configuration, by hypothesis: each field's type and bounds, then what errors say."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from other_values import DEFAULT, DEVICES, FIELDS

from fl_core.base.errors import ConfigError
from fl_core.config.mask_presets import CONVENTIONS
from fl_core.config.mask_section import LAYERS
from fl_core.config.methods import unread
from fl_core.config.trial_config import TrialConfig, Value

NEUTRAL = DEFAULT.to_flat()


@functools.cache
def strategy(name: str) -> st.SearchStrategy[Any]:
    """Allowed values of a field, from its own type and bounds."""
    spec = FIELDS[name]
    if name == "mask.layers":
        kinds = st.lists(st.sampled_from(LAYERS), min_size=1, unique=True).map("+".join)
        return st.just("all") | kinds
    if name == "backbone.weights":
        return st.sampled_from(["pretrained", "random", "sha256:" + "0" * 64])
    if spec.metadata.get("path"):  # the digest has the file's content
        return st.sampled_from(["none", DEVICES])
    if "choices" in spec.metadata:
        return st.sampled_from(spec.metadata["choices"])
    kind, *none = str(spec.type).split(" | ")
    match kind:
        case "bool":
            return st.booleans()
        case "str":
            return st.text(st.characters(exclude_categories=("C", "Z")), max_size=20)
    word = spec.metadata.get("word")
    others = st.none() if none else st.just(word) if word else st.nothing()
    return others | numbers(spec.metadata, whole=kind == "int")


def numbers(bounds: Mapping[str, Any], *, whole: bool) -> st.SearchStrategy[Any]:
    """Numbers within a field's bounds."""
    if whole:
        return st.integers(int(bounds["low"]), int(min(bounds["high"], 50_000)))
    out = {"exclude_min": bounds["above"], "exclude_max": bounds["below"]}
    return st.floats(bounds["low"], min(bounds["high"], 1e6), **out)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Value]:
    """Flat values of any allowed configuration."""
    some = draw(st.lists(st.sampled_from(list(FIELDS)), unique=True, min_size=30, max_size=90))
    flat = NEUTRAL | {name: draw(strategy(name)) for name in some}
    flat |= {name: NEUTRAL[name] for name in FIELDS if unread(name, flat)}
    if flat["mask.preset"] != "none":  # it says what these are, and has no neutral values of them
        flat |= {"fine_tune.strategy": "sparse_full", **CONVENTIONS[str(flat["mask.preset"])]}
    return allowed(flat)


def allowed(flat: Mapping[str, Value]) -> dict[str, Value]:
    """The values, but neutral ones wherever the configuration refuses them.

    What an error is about goes back to its default; if it has that already, what the error
    mentions; then the section. So nothing here knows which values go together.
    """
    mended = dict(flat)
    while True:
        try:
            TrialConfig.from_flat(mended)
        except ConfigError as error:
            field, _, why = str(error).partition("=")
            mentioned = [name for name in re.findall(r"[a-z_]\w*(?:\.\w+)*", why) if name in FIELDS]
            section = [name for name in FIELDS if name.startswith(field.partition(".")[0])]
            for names in ([field], mentioned, section, FIELDS):
                values = {name: NEUTRAL[name] for name in names if mended[name] != NEUTRAL[name]}
                if values:
                    break
            else:
                raise
            mended |= values
        else:
            return mended
