"""What a secure sum costs, next to the generator that no implementation can do without.

    python tests/benchmarks/secure_sum.py                              # a study's round
    python tests/benchmarks/secure_sum.py --clients 100 --size 5400000 --repeats 1  # minutes

Every client expands a mask with every other one and one of its own, the server those of their own:
n^2 + n streams of P words (and for each client that fails while it trains, the pairs of it again).
Printed: GB/s of the generator alone, of it with the addition, and of the whole protocol (bytes of
those streams by the protocol's time); the protocol's time by part; peak memory. Times are the
processor's, of this process alone: on a busy machine still a measure, and all of one run.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from fl_core.base.rng import stream
from fl_core.federated.secure import agreement, client, prg, server
from fl_core.federated.secure.protocol import SecureSum, secure_sum

#: What is timed: where it is called from, and what it counts as.
PARTS = {
    "masks": ("add_masks",),
    "packing": ("pack_vector", "unpack_vector"),
    "X25519": ("agree",),
    "HKDF": ("mask_seed", "channel"),
    "AES-GCM": ("seal", "unseal"),
    "Shamir": ("share", "reconstruct", "weights"),
    "lists": ("pack", "unpack"),
}
clock = time.process_time


class Watch:
    """Seconds that functions take, without those of timed functions that they call."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._within: list[float] = []

    def of(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            start = clock()
            self._within.append(0.0)
            result = function(*args, **named)
            taken = clock() - start
            self.spent[part] += taken - self._within.pop()
            if self._within:
                self._within[-1] += taken
            return result

        return timed

    def install(self) -> None:
        for part, names in PARTS.items():
            for name in names:
                for module in (client, server, *([agreement] if name == "agree" else [])):
                    if hasattr(module, name):
                        setattr(module, name, self.of(part, getattr(module, name)))
        agreement.KeyPair.of = staticmethod(self.of("X25519", agreement.KeyPair.of))  # type: ignore[method-assign]


def speed(work: Callable[[], object], size: int, seconds: float) -> float:
    """GB/s of work that makes `size` bytes: the best of five times so many seconds."""
    best = 0.0
    for _ in range(5):
        start, done = clock(), 0
        while (taken := clock() - start) < seconds / 5:
            work()
            done += size
        best = max(best, done / taken / 1e9)
    return best


def generators(seconds: float) -> dict[str, float]:
    """GB/s of the ciphers, and of masks that are added."""
    seed, buffer = bytes(range(32)), bytearray(prg.PIECE)
    chacha = Cipher(algorithms.ChaCha20(seed, bytes(16)), None).encryptor()
    total = np.zeros(16 * prg.PIECE // 4, np.uint32)
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "AES-256-CTR": (partial(prg.keystream(seed).update_into, prg.ZEROS, buffer), prg.PIECE),
        "ChaCha20": (partial(chacha.update_into, prg.ZEROS, buffer), prg.PIECE),
        "AES-256-CTR, added": (partial(prg.add_masks, total, [seed] * 10, []), 160 * prg.PIECE),
    }
    return {name: speed(work, size, seconds) for name, (work, size) in ways.items()}


def one(args: argparse.Namespace, watch: Watch) -> tuple[float, SecureSum]:
    """Seconds of a secure sum in which the last clients fail while they train."""
    vector = prg.mask(bytes(32), args.size, args.bits - 7)

    def random(purpose: str, k: int, size: int) -> bytes:
        return stream(0, f"secure {purpose}", k).bytes(size)

    last = range(args.clients - args.dead, args.clients)
    start = clock()
    result = secure_sum(
        dict.fromkeys(range(args.clients), vector),
        bits=args.bits,
        threshold=args.clients // 2 + 1,
        fates=dict.fromkeys(last, "training"),
        random=watch.of("randomness", random),
    )
    taken = clock() - start
    of_one = vector.astype(np.uint64) * np.uint64(len(result.added))
    assert np.array_equal(result.total, of_one & np.uint64((1 << args.bits) - 1))
    return taken, result


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--dead", type=int, default=0, help="of them fail while they train")
    parser.add_argument("--size", type=int, default=19_300, help="entries: a head of ViT-Ti")
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each generator")
    args = parser.parse_args()
    rates = generators(args.seconds)
    for name, rate in rates.items():
        print(f"{name:>20}  {rate:6.2f} GB/s")
    watch = Watch()
    watch.install()
    times = []
    for _ in range(args.repeats):
        taken, result = one(args, watch)
        times.append(taken)
    living, everyone = len(result.added), args.clients
    streams = living * everyone + living + living * (everyone - living)
    made = streams * args.size * prg.word_type(args.bits).itemsize
    rate = made / min(times) / 1e9
    print(
        f"{'the whole protocol':>20}  {rate:6.2f} GB/s ({rate / rates['AES-256-CTR']:.0%} of the "
        f"generator's): {everyone} clients x {args.size:,} entries of {args.bits} bits, "
        f"{streams:,} streams, {made / 1e9:.3g} GB"
    )
    print(f"a sum: median {1e3 * statistics.median(times):.1f} ms, min {1e3 * min(times):.1f} ms")
    whole = sum(times)
    for part, spent in sorted(watch.spent.items(), key=lambda item: -item[1]):
        print(f"{part:>20}  {1e3 * spent / len(times):9.2f} ms  {spent / whole:6.1%}")
    rest = whole - sum(watch.spent.values())
    print(f"{'the rest':>20}  {1e3 * rest / len(times):9.2f} ms  {rest / whole:6.1%}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB; a vector has {args.size * 4 / 2**30:.3f}")


if __name__ == "__main__":
    main()
