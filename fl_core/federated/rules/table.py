"""The local rules by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fl_core.config.fields import refuse
from fl_core.config.method_sections import LocalConfig
from fl_core.config.own import can_take, is_own, resolve
from fl_core.federated.rule import PLAIN, LocalRule
from fl_core.federated.rules.blend import blend
from fl_core.federated.rules.cm import cm
from fl_core.federated.rules.dyn import dyn
from fl_core.federated.rules.ghbm import ghbm
from fl_core.federated.rules.hbm import hbm
from fl_core.federated.rules.prox import prox
from fl_core.federated.rules.scaffold import scaffold

#: Values of `local.rule`.
LOCAL_RULES: Mapping[str, Callable[[LocalConfig], LocalRule]] = {
    "plain": lambda local: PLAIN,
    "prox": prox,
    "scaffold": scaffold,
    "dyn": dyn,
    "ghbm": ghbm,
    "hbm": hbm,
    "cm": cm,
}


#: What the functions of a rule are called with.
CALLS = {
    "correct": ("grad", "params", "visit"),
    "finish": ("params", "visit"),
    "starts": ("clients", "state", "fed"),
    "serve": ("gathered",),
    "remember": ("gathered", "params"),
}


def rule_of(local: LocalConfig) -> LocalRule:
    """The rule that the section `local` names."""
    if local.blend != "none":
        return blend(local.blend)
    field = f"{local.prefix}rule"
    rule = resolve(LOCAL_RULES, local.rule, field, takes=("local",))(local)
    if not isinstance(rule, LocalRule):
        raise refuse(field, local.rule, f"must give a LocalRule, not {type(rule).__name__}")
    for name, takes in CALLS.items() if is_own(local.rule) else ():
        if (one := getattr(rule, name)) is not None and not can_take(one, *takes):
            raise refuse(
                field, local.rule, f"its {name} must be callable with ({', '.join(takes)})"
            )
    return rule
