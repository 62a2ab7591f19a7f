"""The personalised methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fl_core.config.fields import refuse
from fl_core.config.method_sections import PersonalConfig
from fl_core.config.own import resolve
from fl_core.federated.personal.alone import alone
from fl_core.federated.personal.ditto import ditto
from fl_core.federated.personal.fedbn import fedbn
from fl_core.federated.personal.fedper import fedper
from fl_core.federated.personal.fedrep import fedrep
from fl_core.federated.personal.fine_tune import fine_tune
from fl_core.federated.personal.rule import NOBODY, Personal

#: Values of `personal.rule`.
PERSONALS: Mapping[str, Callable[[PersonalConfig], Personal]] = {
    "none": lambda personal: NOBODY,
    "local": alone,
    "fedper": fedper,
    "fedrep": fedrep,
    "fedbn": fedbn,
    "ditto": ditto,
    "fine_tune": fine_tune,
}


def personal_of(config: PersonalConfig) -> Personal:
    """The method that the section `personal` names."""
    found = resolve(PERSONALS, config.rule, "personal.rule", takes=("personal",))(config)
    if not isinstance(found, Personal):
        raise refuse(
            "personal.rule", config.rule, f"must give a Personal, not {type(found).__name__}"
        )
    return found
