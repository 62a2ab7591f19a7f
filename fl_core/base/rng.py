"""Counter-based random streams (contract 1).

Every draw of the project comes from `stream(seed, purpose, *indices)`. A stream is a pure
function of its name, so no state is carried from round to round, the order of execution does
not matter, and a new consumer disturbs no other. Philox: Salmon et al., SC 2011.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """The random stream of this name, e.g. `stream(cfg.seed, "batches", round, client)`.

    numpy's generator, on the CPU, whatever the device: the same draws everywhere.
    """
    name = "/".join([str(int(seed)), purpose, *(str(int(i)) for i in indices)])
    key = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))
