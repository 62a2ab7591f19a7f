"""Every client for itself: all of its model is its own, nothing is shared.

The baseline that a federation must beat. Where all that trains is a linear head, this is what a
local head (FedPer, FedRep) would come to.
"""

from __future__ import annotations

import torch

from fl_core.config.method_sections import PersonalConfig
from fl_core.federated.personal.rule import Personal


def alone(personal: PersonalConfig) -> Personal:
    """No parameter."""
    return Personal(part=lambda model: torch.ones_like(model.flat, dtype=torch.bool))
