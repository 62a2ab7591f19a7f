"""What becomes of the clients that are asked for an update, on the virtual clock.

A turn is a download, training and an upload:

    seconds = bytes down / down + examples / speed + bytes up / up      of the client's device

The bytes are those of the ledger, as encoded; the examples those that it processes. On its way a
client may fail, at one of STAGES:

* by chance, `timing.dropout` a turn: at each stage as likely, at any moment of it;
* by its failure rate: after an exponential time;
* because its window closes;
* because the round's deadline has come.

What it has received, computed and sent by then is known (`Fate.down`, `examples`, `up`): traffic
and work that were for nothing. Who fails before the end of its upload keeps nothing of the turn and
counts as if it had not taken part. The server learns of a failure when it happens (the connection
breaks), so it waits no longer for that client. ANSWERING is the stage of aggregates that ask the
clients once more when all updates are in: who fails there has been heard, but does not answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from fl_core.base.rng import stream
from fl_core.config.methods import ASKING_AGAIN
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.timing.devices import Device

DOWNLOAD, TRAINING, SENDING, ANSWERING = STAGES = ("download", "training", "sending", "answering")
ARRIVED = "arrived"


class Errand(NamedTuple):
    """What a client is asked for in a turn, known before it happens."""

    down: int  # bytes
    examples: int  # processed, in all passes
    up: int  # bytes

    def moments(self, device: Device) -> tuple[float, float, float]:
        """Seconds from the turn's begin to the end of its download, training and upload."""
        received = self.down / device.down
        trained = received + self.examples / device.speed
        return received, trained, trained + self.up / device.up

    def seconds(self, device: Device) -> float:
        """Of the whole turn."""
        return self.moments(device)[-1]


class Fate(NamedTuple):
    """How a client's turn ended.

    stage: where it failed, or ARRIVED. seconds: from when it was asked until it had arrived, or
    failed. done: share of that stage by then. fails: seconds from when it was asked until it fails,
    or would, were it at work for as long as that.
    """

    client: int
    stage: str
    seconds: float
    errand: Errand
    done: float = 1.0
    fails: float = math.inf

    @property
    def arrives(self) -> bool:
        """Whether the server has its update."""
        return self.stage in (ANSWERING, ARRIVED)

    @property
    def share_down(self) -> float:
        """Of its download: what came."""
        return self.done if self.stage == DOWNLOAD else 1.0

    @property
    def share_up(self) -> float:
        """Of its upload: what was sent."""
        return self.done if self.stage == SENDING else float(self.arrives)

    @property
    def examples(self) -> int:
        """Those that it has processed."""
        if self.stage == DOWNLOAD:
            return 0
        return int((self.done if self.stage == TRAINING else 1.0) * self.errand.examples)


def fate_of(
    config: TrialConfig,
    client: int,
    device: Device,
    errand: Errand,
    time: float,
    turn: int,
    limit: float = math.inf,
) -> Fate:
    """What becomes of a client that is asked at a time (virtual seconds), when it is there.

    turn: names its draws: the round, or whatever else tells two turns of a client apart. limit:
    seconds after which nobody waits for it any more.
    """
    ends = errand.moments(device)
    fails = device.closes_in(time, config.timing.day)
    if config.timing.dropout or device.failure_rate:
        fails = min(fails, _failure(config, client, device, ends, turn))
    moment = min(fails, limit)
    if ends[-1] <= moment:
        return Fate(client, ARRIVED, ends[-1], errand, fails=fails)
    at = next(stage for stage, end in enumerate(ends) if moment < end)
    begin = (0.0, *ends)[at]
    done = (moment - begin) / (ends[at] - begin)
    return Fate(client, STAGES[at], moment, errand, done, fails)


def _failure(
    config: TrialConfig, client: int, device: Device, ends: Sequence[float], turn: int
) -> float:
    """Seconds after which chance makes it fail; infinity for never."""
    random = stream(config.seed, "failures", turn, client)
    unlucky = random.random() < config.timing.dropout
    place = random.random() * (4 if asks_again(config) else 3)
    lasts = random.standard_exponential() / device.failure_rate if device.failure_rate else math.inf
    if not unlucky:
        return lasts
    at = int(place)
    begins = (0.0, *ends)
    moment = ends[-1] if at == 3 else begins[at] + (place - at) * (ends[at] - begins[at])
    return min(moment, lasts)


def asks_again(config: TrialConfig) -> bool:
    """Whether clients have to answer the server once more when all updates are in."""
    return config.aggregate.rule in ASKING_AGAIN


def answered(fates: Sequence[Fate], seconds: float) -> list[Fate]:
    """The same when the server asks again after so many seconds: who has failed by then, or does at
    that moment, does not answer.
    """
    return [
        fate._replace(stage=ANSWERING) if fate.arrives and fate.fails <= seconds else fate
        for fate in fates
    ]
