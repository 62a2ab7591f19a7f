"""Drawing without replacement, with unequal probabilities, one after the other.

The first client is k with probability p_k, each next one with its share of what is left. The same
sets, as likely, come from a race: client k arrives after an exponential time of rate p_k, and the
first m to arrive are taken (Efraimidis & Spirakis 2006). Probabilities are given as logarithms, up
to a common constant: those of a Dirichlet distribution of small concentration underflow.
"""

from __future__ import annotations

import numpy as np

STEP = 0.1  # of the logarithm of time: errors below 1e-10 at K = 100, 1e-8 at K = 1,000
LATE = 40.0  # exp(-40): who has not arrived by then never does


def draw(rng: np.random.Generator, log_p: np.ndarray, count: int) -> np.ndarray:
    """(count,) distinct clients, in increasing order."""
    arrival = np.log(rng.standard_exponential(len(log_p))) - log_p
    return np.sort(np.argpartition(arrival, count - 1)[:count])


def inclusion(log_p: np.ndarray, count: int) -> np.ndarray:
    """(K,) the probability pi_k that client k is among the `count` first.

    pi_k is the integral over t of the density p_k exp(-p_k t) of its arrival, times the probability
    that fewer than `count` of the others have come by t: a sum of independent coins, exact by
    adding one client after the other, from the left and from the right, k left out. The integral
    is a sum over equal steps of u = log t, whose error falls exponentially with the step.
    """
    clients = len(log_p)
    if count >= clients:
        return np.ones(clients)
    log_p = log_p - log_p.max()
    last = np.sort(-log_p)[count] + np.log(LATE)  # by then `count` others have come
    total = np.zeros(clients)
    nodes = np.arange(-LATE - np.log(clients), last, STEP)
    for times in np.array_split(nodes, max(1, len(nodes) * clients * count // 2_000_000)):
        # (K, nodes) expected arrivals by then; beyond e^600 nothing is left to come
        rate = np.exp(np.minimum(log_p[:, None] + times, 600.0))
        total += (rate * np.exp(-rate) * _fewer_others(-np.expm1(-rate), count)).sum(1)
    return total * STEP


def _fewer_others(come: np.ndarray, count: int) -> np.ndarray:
    """(K, nodes): that fewer than `count` of the other clients have come; come: (K, nodes)."""
    clients, nodes = come.shape
    before = np.zeros((clients + 1, nodes, count))  # how many of the clients before k have come
    before[0, :, 0] = 1.0
    for k in range(clients):
        before[k + 1] = _one_more(before[k], come[k])
    after, fewer = before[0].copy(), np.empty_like(come)
    for k in reversed(range(clients)):
        # a of those before and at most count - 1 - a of those after
        fewer[k] = (before[k] * after.cumsum(1)[:, ::-1]).sum(1)
        after = _one_more(after, come[k])
    return fewer


def _one_more(counts: np.ndarray, come: np.ndarray) -> np.ndarray:
    """(nodes, count) the distribution of the number of arrivals, with one more client."""
    added: np.ndarray = counts * (1 - come)[:, None]
    added[:, 1:] += counts[:, :-1] * come[:, None]
    return added
