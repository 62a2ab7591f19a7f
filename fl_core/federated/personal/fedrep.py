"""FedRep (Collins et al., ICML 2021, algorithm 1): the head stays with the client; in a round it
is trained first, behind the server's body, and then the body behind the new head.

Of a client's local steps the first `personal.steps` are the head's, the others the body's, so that
it makes as many steps as FedAvg (the authors' code has further head epochs on top). Each of the two
draws batches of its own. Momentum begins with each: their entries have none in common.
"""

from __future__ import annotations

from fl_core.config.method_sections import PersonalConfig
from fl_core.federated.personal.parts import head_of
from fl_core.federated.personal.rule import Personal


def fedrep(personal: PersonalConfig) -> Personal:
    """With `personal.steps` of the head in each round."""
    return Personal(part=head_of, first=personal.steps)
