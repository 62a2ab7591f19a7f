"""What goes together with a task of text, and with the model that reads text; each refusal a line.

A task of the user's own tells only when it is imported what its inputs are: `check_reading` is for
it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_core.config.fields import refuse
from fl_core.config.own import is_own
from fl_core.data.catalogue import TEXTS

if TYPE_CHECKING:
    from fl_core.config.trial_config import TrialConfig

CHAR_MODELS = ("char_lstm", "char_lstm_small")


def check_text(config: TrialConfig) -> None:
    """ConfigError for what names itself as text, or the model for it, and does not fit."""
    data, backbone = config.data, config.backbone
    text = data.name in TEXTS
    if data.scored != "every" and not text and not is_own(data.name):
        raise refuse("data.scored", data.scored, f"only for text: data.name={' or '.join(TEXTS)}")
    if text and backbone.name not in CHAR_MODELS and not is_own(backbone.name):
        needs = f"data.name={data.name} is text: needs {CHAR_MODELS[0]}, or your own model"
        raise refuse("backbone.name", backbone.name, needs)
    if text:
        check_reading(config)
    if backbone.name not in CHAR_MODELS:
        return
    if not text and not is_own(data.name):
        needs = f"reads text: needs data.name={' or '.join(TEXTS)}, or your own"
        raise refuse("backbone.name", backbone.name, needs)
    if backbone.weights != "random":
        needs = f"{backbone.name} has no pre-trained weights: needs backbone.weights=random"
        raise refuse("backbone.weights", backbone.weights, needs)
    if config.compute.execution == "stacked":
        why = "vmap has no rule for an LSTM: on a CPU it is six times slower than sequential"
        raise refuse("compute.execution", "stacked", f"not for {backbone.name}: {why}")


def check_reading(config: TrialConfig) -> None:
    """ConfigError for what a model of text cannot do."""
    name = config.data.name
    if config.fine_tune.strategy != "full":
        needs = f"data.name={name} is text, of which all of the model learns: needs full"
        raise refuse("fine_tune.strategy", config.fine_tune.strategy, needs)
    features = "is of frozen features, which a text has not: needs"
    for field, value, wanted in (
        ("head.method", config.head.method, "none"),
        ("local.blend", config.local.blend, "none"),
    ):
        if value != wanted:
            why = features if field == "head.method" else "takes one label an example: needs"
            raise refuse(field, value, f"{why} {wanted} for data.name={name}")
    if config.attack.rule in ("label_flip", "noisy_inputs"):
        needs = "changes images and their labels: text needs sign_flip or gaussian"
        raise refuse("attack.rule", config.attack.rule, needs)
    if config.timing.asks_exemplars:
        needs = "asks models about examples of each class: text needs oracle or random"
        raise refuse("timing.grouping", config.timing.grouping, needs)
    for field in ("crop", "rotation"):
        if value := getattr(config.data, field):
            raise refuse(f"data.{field}", value, "text is not augmented: must be 0")
