"""Fine-tuning: each client trains the finished model further on its own examples.

`personal.steps` plain steps of its own optimiser at `local.lr`, from the server's model as it
stands whenever clients are judged; nothing of it goes back. Training is FedAvg's to the bit.
(FedAvg + FT of Collins et al. 2021 and others; FedBABU, Oh et al. 2022, tunes the head alone.)
"""

from __future__ import annotations

from fl_core.config.method_sections import PersonalConfig
from fl_core.federated.personal.rule import Personal


def fine_tune(personal: PersonalConfig) -> Personal:
    """With `personal.steps`."""
    return Personal(tune=personal.steps)
