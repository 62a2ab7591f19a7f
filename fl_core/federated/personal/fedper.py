"""FedPer (Arivazhagan et al., arXiv:1912.00818): the head stays with the client, the rest is
averaged, both are trained together in every local step.

Head: the classifier, the last linear layer; the paper also has deeper ones. What a new client
gets is the mean of the heads, by examples.
"""

from __future__ import annotations

from fl_core.config.method_sections import PersonalConfig
from fl_core.federated.personal.parts import head_of
from fl_core.federated.personal.rule import Personal


def fedper(personal: PersonalConfig) -> Personal:
    """No parameter."""
    return Personal(part=head_of)
