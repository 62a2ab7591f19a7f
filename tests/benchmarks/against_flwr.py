"""The same updates to Flower's strategies and to our server: equal to rounding, or explained.

    uv venv /tmp/flwr && VIRTUAL_ENV=/tmp/flwr uv pip install flwr
    python tests/benchmarks/against_flwr.py --flwr /tmp/flwr/bin/python

Five rounds of ten clients with examples of their own, 1,000 parameters. For each method the largest
difference of the server's parameters, relative to the largest that they move; where a convention
differs, the same with Flower's convention put into ours.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig, Value
from fl_core.federated.aggregates.krum import scores_of, squared_distances
from fl_core.federated.aggregates.mean import mean
from fl_core.federated.aggregates.table import aggregate
from fl_core.federated.rule import PLAIN
from fl_core.federated.server import server_step
from fl_core.federated.state import State
from fl_core.federated.update import Measured, Update

ROUNDS, CLIENTS, SIZE = 5, 10, 1000
ETA, BETA1, BETA2, TAU, TRIM, BYZANTINE = 0.1, 0.9, 0.99, 1e-3, 0.2, 1

Made = Mapping[str, np.ndarray]
Moments = {"server.lr": ETA, "server.tau": TAU, "server.beta1": BETA1}
SETTINGS: dict[str, dict[str, Value]] = {
    "momentum": {"server.lr": ETA, "server.momentum": BETA1},
    "adagrad": {**Moments, "server.beta1": 0.0},  # as Flower fixes it
    "adam": {**Moments, "server.beta2": BETA2, "server.bias_correction": True},
    "yogi": {**Moments, "server.beta2": BETA2},
    "median": {},
    "trimmed_mean": {"aggregate.trim": TRIM},
    "krum": {"aggregate.byzantine": BYZANTINE},
    "multi_krum": {"aggregate.byzantine": BYZANTINE},
    "bulyan": {"aggregate.byzantine": BYZANTINE},
}
SERVERS = ("momentum", "adagrad", "adam", "yogi")
Rate = Callable[[int], float]


def drawn(equal: bool) -> Made:
    """Updates to be sent to both; `near`: parameters that hardly differ, in float32."""
    rng = np.random.default_rng(0)
    near = np.full((3, SIZE), 3.0) + 1e-4 * rng.standard_normal((3, SIZE))
    moves = 0.3 * rng.standard_normal((ROUNDS, 1, SIZE))
    return {
        "start": rng.standard_normal(SIZE),
        "moves": moves + 0.1 * rng.standard_normal((ROUNDS, CLIENTS, SIZE)),
        "weights": np.full(CLIENTS, 7) if equal else rng.integers(1, 600, CLIENTS),
        "near": near.astype(np.float32),
        "eta": np.array(ETA), "beta1": np.array(BETA1), "beta2": np.array(BETA2),
        "tau": np.array(TAU), "trim": np.array(TRIM), "byzantine": np.array(BYZANTINE),
    }  # fmt: skip


def updates_of(params: np.ndarray, weights: np.ndarray) -> list[Update]:
    zero = torch.zeros(())
    return [
        Update(k, 0, int(n), int(n), {"params": torch.from_numpy(row).float()}, {}, zero, 1)
        for k, (row, n) in enumerate(zip(params, weights, strict=True))
    ]


def ours(name: str, made: Made, rate: Rate | None = None, **state: Tensor) -> np.ndarray:
    """(T, P) as `flwr_side.trained`. rate: the server's, by round; state: its optimiser's first."""
    field = "server.optimiser" if name in SERVERS else "aggregate.rule"
    config = TrialConfig().override({field: name, **SETTINGS[name]})
    if rate is not None:
        config = config.override({"server.bias_correction": False})
    first = {f"optimiser/{n}": tensor for n, tensor in state.items()}
    now, path = State(torch.from_numpy(made["start"]).float(), server=first), []
    for round, moved in enumerate(made["moves"]):
        settings = config if rate is None else config.override({"server.lr": rate(round + 1)})
        measured = Measured(now.params)
        sent = updates_of(now.params.double().numpy() + moved, made["weights"])
        target = aggregate(measured.passing(sent), measured.start, settings)
        now = server_step(settings, PLAIN, now, target, measured)
        path.append(now.params.double().numpy())
    return np.stack(path)


def from_zero() -> dict[str, Tensor]:
    """A second moment that begins at 0, not at tau^2."""
    zeros = torch.zeros(SIZE).double()
    return {"m": zeros, "v": zeros, "steps": torch.zeros((), dtype=torch.int64)}


def late(round: int) -> float:
    """Flower's rate of Adam: the bias of the round after this one."""
    return ETA * np.sqrt(1 - BETA2 ** (round + 1)) / (1 - BETA1 ** (round + 1))


def on_time(round: int) -> float:
    """Kingma and Ba's."""
    return late(round - 1)


def compare(equal: bool, python: str, folder: Path) -> None:
    made = drawn(equal)
    np.savez(folder / "updates.npz", **made)  # type: ignore[arg-type]
    side = Path(__file__).with_name("flwr_side.py")
    command = [python, str(side), str(folder / "updates.npz"), str(folder / "answers.npz")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    theirs = np.load(folder / "answers.npz")

    def show(name: str, found: np.ndarray, what: str = "as they are") -> None:
        moved = np.abs(theirs[name] - made["start"]).max()
        print(f"{name:13} {np.abs(found - theirs[name]).max() / moved:9.1e}  {what}")

    print(f"clients' examples {'equal' if equal else 'unequal'}:")
    for name in SETTINGS:
        show(name, ours(name, made))
    show("adagrad", ours("adagrad", made, **from_zero()), "v from 0, as Flower, not tau^2")
    show("yogi", ours("yogi", made, **from_zero()), "v from 0")
    show("adam", ours("adam", made, on_time, **from_zero()), "v from 0, tau not corrected")
    show("adam", ours("adam", made, late, **from_zero()), "the same, exponent t + 1 as in Flower")
    if not equal:
        alike = {**made, "weights": np.full(CLIENTS, 7)}
        show("trimmed_mean", ours("trimmed_mean", alike), "clients weigh the same, as in Flower")
        show("multi_krum", by_examples(made), "the chosen by examples, as Flower")
    near = updates_of(made["near"], np.ones(3))
    exact, gram = squared_distances(near, TrialConfig()), theirs["near_distances"]
    print(f"squared distances of near parameters: ours {exact[0, 1]:.2e}, {exact[1, 2]:.2e}; "
          f"Flower's Multi-Krum (Gram, float32) {gram[0, 1]:.2e}, {gram[1, 2]:.2e}")  # fmt: skip


def by_examples(made: Made) -> np.ndarray:
    """Multi-Krum's choice, averaged by examples."""
    config = TrialConfig().override({"aggregate.rule": "multi_krum"})
    params, path = made["start"], []
    for moved in made["moves"]:
        sent = updates_of(params + moved, made["weights"])
        best = scores_of(squared_distances(sent, config), BYZANTINE).argsort()
        chosen = [sent[k] for k in best[: CLIENTS - BYZANTINE].tolist()]
        params = mean(chosen, torch.from_numpy(params), config).numpy()
        path.append(params)
    return np.stack(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flwr", required=True, help="the Python that has flwr")
    python = parser.parse_args().flwr
    with tempfile.TemporaryDirectory() as folder:
        for equal in (True, False):
            compare(equal, python, Path(folder))


if __name__ == "__main__":
    main()
