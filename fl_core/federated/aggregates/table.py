"""The aggregates by name: many clients' parameters to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain

from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.config.own import resolve
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.bulyan import bulyan
from fl_core.federated.aggregates.geometric_median import geometric_median
from fl_core.federated.aggregates.krum import krum, multi_krum
from fl_core.federated.aggregates.mean import mean
from fl_core.federated.aggregates.median import median
from fl_core.federated.aggregates.norm_bound import norm_bound
from fl_core.federated.aggregates.party import Joined, Party, Protocol
from fl_core.federated.aggregates.secure import keys_and_shares, masked_bytes, secure
from fl_core.federated.aggregates.secure_zero_sum import secure_zero_sum, seeds
from fl_core.federated.aggregates.trimmed_mean import trimmed_mean
from fl_core.federated.booking import Exchanged
from fl_core.federated.update import Update

#: (updates, start (P,) float64, configuration) -> (P,) float64
Aggregate = Callable[[Iterable[Update], Tensor, TrialConfig], Tensor]

#: Values of `aggregate.rule` that need the updates alone.
AGGREGATES: Mapping[str, Aggregate] = {
    "mean": mean,
    "median": median,
    "trimmed_mean": trimmed_mean,
    "norm_bound": norm_bound,
    "geometric_median": geometric_median,
    "krum": krum,
    "multi_krum": multi_krum,
    "bulyan": bulyan,
}
#: Those that are protocols between the clients and the server.
PROTOCOLS: Mapping[str, Protocol] = {
    "secure_zero_sum": Protocol(secure_zero_sum, seeds),
    "secure": Protocol(secure, keys_and_shares, masked_bytes),
}


def joined(updates: Iterable[Update], start: Tensor, party: Party) -> Joined:
    """The round's updates as one; nothing of nobody."""
    protocol = PROTOCOLS.get(party.run.config.aggregate.rule)
    if protocol is not None:
        return protocol.join(updates, start, party)
    first = next(passing := iter(updates), None)
    if first is None:
        return Joined(None)
    return Joined(aggregate(chain((first,), passing), start, party.run.config))


def planned(config: TrialConfig) -> Exchanged:
    """What a client of a full round exchanges beside its update."""
    protocol = PROTOCOLS.get(config.aggregate.rule)
    return Exchanged() if protocol is None else protocol.exchange(config)


def upload_of(config: TrialConfig) -> Callable[[int], int] | None:
    """Bytes of an update of so many entries, where the aggregate has an encoding of its own."""
    protocol = PROTOCOLS.get(config.aggregate.rule)
    if protocol is None or protocol.upload is None:
        return None
    return partial(protocol.upload, config.aggregate)


def aggregate_of(config: TrialConfig) -> Aggregate:
    """The rule that the section `aggregate` names, or the user's own."""
    takes = ("updates", "start", "config")
    return resolve(AGGREGATES, config.aggregate.rule, "aggregate.rule", takes)


def aggregate(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    target = aggregate_of(config)(updates, start, config)
    if target.shape != start.shape:
        allowed = f"must give numbers of shape {tuple(start.shape)}, not {tuple(target.shape)}"
        raise refuse("aggregate.rule", config.aggregate.rule, allowed)
    return target
