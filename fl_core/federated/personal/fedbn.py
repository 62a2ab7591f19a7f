"""FedBN (Li et al., ICLR 2021): layers that normalise stay with the client, the rest is averaged.

The paper's are BatchNorm, weights and running statistics. Here backbones have none (their
statistics cannot be averaged), so LayerNorm and GroupNorm count: a deviation, which keeps scale and
shift of a client's features its own but no statistics, for these norms have none.
"""

from __future__ import annotations

from fl_core.config.method_sections import PersonalConfig
from fl_core.federated.personal.parts import norms_of
from fl_core.federated.personal.rule import Personal


def fedbn(personal: PersonalConfig) -> Personal:
    """No parameter."""
    return Personal(part=norms_of)
