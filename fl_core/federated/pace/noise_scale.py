"""Batches as large as the gradients are noisy (McCandlish et al. 2018, appendix A.1).

A gradient of b examples has E|G_b|^2 = |G|^2 + S / b. From two batch sizes, b < B,

    |G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b)        S = (|G_b|^2 - |G_B|^2) / (1/b - 1/B)

without bias, and B_simple = S / |G|^2 is the batch from which on more examples help little. Both
are smoothed on their own (`schedule.smoothing`), since the ratio of noisy numbers is biased; from
zeros, whose share in both is the same and cancels. Nothing is sent for it: a client's update over
the sum of its learning rates, (w - w_k) / sum eta, stands for the gradient of the b examples that
it has seen, the plain mean of m clients for that of B = m b. (Where clients see unequal numbers b
is their harmonic mean, for which the equations hold.)

One step of the federation averages m batches: each is made B_simple / m examples large, within
`local.batch_size`, which is also the first round's, and `schedule.batch_most`.

It is exact for clients with the same distribution that take one plain SGD step. After more steps an
update is a sum of gradients at different points; momentum, weight decay and clipping change its
length. What clients differ by counts as noise, which larger batches do not lower: on non-iid
clients the scale is that of the federation, and the batches are larger than a client's own noise
asks for.
"""

from __future__ import annotations

import math

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.pace.pace import Memory, Pace
from fl_core.federated.update import Measured

#: In the server's memory: smoothed S and |G|^2.
NOISE, SIGNAL = "noise", "signal"


def estimate(small: float, large: float, b: float, clients: int) -> tuple[float, float]:
    """(S, |G|^2) from the mean |G_b|^2 and |G_B|^2 of B = clients * b examples."""
    noise = (small - large) * b * clients / (clients - 1)
    signal = (clients * large - small) / (clients - 1)
    return noise, signal


def noise_scale(memory: Memory) -> float:
    """B_simple; infinite where no gradient shows in the noise, NaN where nothing is known yet."""
    noise, signal = memory.get(NOISE, math.nan), memory.get(SIGNAL, math.nan)
    if math.isnan(noise) or math.isnan(signal):
        return math.nan
    return max(0.0, noise) / signal if signal > 0 else math.inf


def _now(config: TrialConfig, memory: Memory, round: int) -> int:
    least, most = config.local.batch_size, config.schedule.batch_most
    each = noise_scale(memory) / config.federation.sampled
    return least if math.isnan(each) else math.ceil(min(max(each, least), most))


def _after(config: TrialConfig, memory: Memory, round: int, measured: Measured) -> Memory:
    clients = len(measured.traffic)
    if clients < 2 or measured.moved is None:
        return memory
    travel = measured.travel
    small = measured.squares / clients / travel**2
    large = float(measured.moved.square().sum()) / (clients * travel) ** 2
    noise, signal = estimate(small, large, clients / measured.per_example, clients)
    old = config.schedule.smoothing
    return {
        NOISE: old * memory.get(NOISE, 0.0) + (1 - old) * noise,
        SIGNAL: old * memory.get(SIGNAL, 0.0) + (1 - old) * signal,
    }


NOISE_SCALE = Pace(_now, _after, "batch_round", moves=True)
