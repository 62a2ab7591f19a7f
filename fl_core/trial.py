"""One trial: a generator of per-round results that knows no Ray and no MLflow.

    for record in run_trial(TrialConfig().override({"local.lr": 0.05}), Machine()):
        print(record["round"], record["val_accuracy"])

With a `folder` the trial is idempotent: after every evaluation its state and its curve so far go
into `<folder>/<digest>.safetensors`; run again, after a kill at any moment, it yields the
recorded curve first and goes on from there, to the same bits as without interruption.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from fl_core import inputs, stages
from fl_core.base.host import keep_freed_memory
from fl_core.base.machine import Machine
from fl_core.base.tables import csv_text
from fl_core.checkpoint import (
    clients_path,
    resume_trial,
    save_trial,
    stored_test_curve,
    trial_path,
)
from fl_core.config.record import START, TEST_START, Record
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import Source
from fl_core.federated.account import Clock
from fl_core.federated.attacks import attacked
from fl_core.federated.evaluate import Evaluation, evaluate
from fl_core.federated.losses import LOSSES
from fl_core.federated.memory import ClientMemory
from fl_core.federated.personal.judge import Judge
from fl_core.federated.personal.own import shared_model
from fl_core.federated.results import RoundResult, spread
from fl_core.federated.rounds import fedavg
from fl_core.federated.run import Run
from fl_core.federated.state import Federation, State
from fl_core.federated.timing.superclient_report import superclient_rows
from fl_core.masks.calibration import Calibration
from fl_core.masks.changing import ChangingMasks
from fl_core.masks.parties import SERVER

TEST_CURVE = "test_curve.csv"
#: Its columns. What it had cost by then stands last: rows that an older version wrote lack it.
_TEST_COLUMNS = ("round", "local_steps", "test_loss", "test_accuracy", "virtual_seconds",
                 "bytes_up", "bytes_down")  # fmt: skip


def run_trial(
    config: TrialConfig, machine: Machine, folder: Path | None = None
) -> Iterator[Record]:
    """Yield one record per evaluation, the last with `done=True`.

    Raises UserError for what the user can mend. A diverged run ends with `diverged=True` and
    without validation metrics; it is a result.
    """
    return Trial(config, machine, folder).records()


class Trial:
    """One trial, with all that it measures; its inputs are prepared once, when first needed.

    tested: whether every evaluation reads the test set too, for `TEST_CURVE` and nothing else: no
    record, and so no choice, has any of it. Only a job of the confirmation may ask for it.
    """

    def __init__(
        self,
        config: TrialConfig,
        machine: Machine,
        folder: Path | None = None,
        *,
        tested: bool = False,
    ) -> None:
        self.config, self.machine = config, machine
        self.path = None if folder is None else trial_path(folder, config)
        self._tested = tested
        self._last: State | None = None  # after the last round, if this process trained it
        self._test_curve: list[list[float]] | None = None  # None: not read from the file yet

    @cached_property
    def _prepared(self) -> tuple[Federation, State]:
        fed, start = stages.prepare(self.config, self.machine)
        fed = attacked(self.config, fed)
        if self.path is not None:
            start = replace(start, clients=ClientMemory.empty(clients_path(self.path)))
        return fed, start

    @cached_property
    def _run(self) -> Run:
        return Run.of(self.config, self._prepared[0])

    def records(self) -> Iterator[Record]:
        """As `run_trial`."""
        set_up_torch(self.machine)
        records, state = resume_trial(self.path, self.machine.device)
        yield from records
        if records and records[-1]["done"]:
            return
        if not records:
            self._test_curve = []  # whatever a file without a state has
        if state is not None:
            state.clients.forget_older()  # what a kill left behind
        fed, start = self._prepared
        begun = {n: records[-1][n] for n in (START,) if n in records[-1]} if records else {}
        if not records and fed.val is not None:
            clock = Clock(start.totals)
            begun[START] = self._evaluated(start.params, fed.val).accuracy
            clock.charge("seconds_eval")
            start = replace(start, totals=clock.totals)
        for result in fedavg(self.config, fed, state or start):
            ends = {"done": result.done, "diverged": result.diverged}
            records.append({**result.metrics, **begun, **ends, "rounds": result.rounds})
            if self._tested and not result.diverged:
                self._tested_rows().append(self._test_row(result))
            if self.path is not None:
                save_trial(self.path, self.config, records, result.state, self._tested_rows())
            self._last = result.state
            yield records[-1]

    def test_metrics(self) -> tuple[dict[str, float], dict[str, str]]:
        """Accuracy and loss of a finished trial on the TEST set, its spread over clients, their own
        accuracies where they judge, and the accuracy before the main stage; and as tables (file
        name -> CSV) every prediction, in the order of the test set, the partition of this trial's
        own seed, how often each client was selected, and who attacks, where any do; `tested`, also
        the test curve.

        Only a job of the confirmation may call this (contract 5).
        """
        (fed, start), run = self._prepared, self._run
        state = self._final()
        if state.best is not None:  # no best: no validation set
            state = replace(state, params=state.best)
        result = self._on_test_set(shared_model(run, state), keep=True)
        clients = spread(result.client_accuracies(fed.class_counts))
        before = self._on_test_set(start.params).accuracy
        metrics = {
            "test_accuracy": result.accuracy,
            "test_loss": result.loss,
            TEST_START: before,
            **{f"test_accuracy_{at}": of for at, of in result.by_position.items()},
            **clients,
        }
        counts = fed.class_counts
        tables = {
            "predictions.csv": result.predictions_csv(),
            "partition.csv": csv_text(range(counts.shape[1]), counts.tolist()),
            "selections.csv": csv_text(
                ("client", "rounds"), ((k, state.selected.get(k, 0)) for k in range(len(counts)))
            ),
        }
        if fed.attackers:
            tables["attackers.csv"] = csv_text(("client",), ([c] for c in sorted(fed.attackers)))
        if superclients := superclient_rows(fed, state):
            head = ("superclient", "examples", "distance", "clients")
            tables["superclients.csv"] = csv_text(head, superclients)
        if self.config.personal.judges:
            judge = Judge(run, self._test_examples(), "test")
            verdict, tables["clients.csv"] = judge.verdict(state, result)
            metrics |= verdict
        if self._tested:
            tables[TEST_CURVE] = csv_text(_TEST_COLUMNS, self._tested_rows())
        return metrics, tables

    def _on_test_set(self, params: Tensor, *, keep: bool = False) -> Evaluation:
        return self._evaluated(params, self._test_examples(), keep)

    def _test_examples(self) -> Source:
        fed, _ = self._prepared
        return inputs.test_source(self.config, self.machine, fed)

    def _evaluated(self, params: Tensor, source: Source, keep: bool = False) -> Evaluation:
        fed, _ = self._prepared
        fed.model.flat.copy_(params)
        loss, precision = LOSSES[self.config.head.loss], self.config.compute.precision
        return evaluate(fed.model.module, source, precision, loss=loss, keep=keep)

    def _test_row(self, result: RoundResult) -> list[float]:
        """A row of the test curve: of the parameters as they are, not of the best so far."""
        found = self._on_test_set(shared_model(self._run, result.state))
        tested = {"test_loss": found.loss, "test_accuracy": found.accuracy}
        told = {**result.metrics, **tested}
        return [told[name] for name in _TEST_COLUMNS]

    def _tested_rows(self) -> list[list[float]]:
        """The test curve so far, at first as the trial's file has it."""
        if self._test_curve is None:
            self._test_curve = stored_test_curve(self.path) if self._tested else []
        return self._test_curve

    def mask_report(self) -> tuple[dict[str, float], dict[str, str]]:
        """What a finished trial's masks look like: metrics, and a table by layer.

        Nothing for dense trials. Of per-client masks those of the clients that took part; of masks
        that change those of the last round.
        """
        if not self.config.mask.in_force:
            return {}, {}
        fed, _ = self._prepared
        if fed.changing is not None:
            return cast("ChangingMasks", fed.changing).report(self._final())
        own = self.config.mask.scope == "per_client"
        parties = sorted(self._final().participants) if own else [SERVER]
        return cast("Calibration", fed.masks).report(parties)

    def _final(self) -> State:
        """The state that the trial ended with."""
        if self._last is None:
            self._last = resume_trial(self.path, self.machine.device)[1]
        if self._last is None:
            raise ValueError(f"trial {self.config.digest()} has no stored parameters")
        return self._last


def set_up_torch(machine: Machine) -> None:
    """Thread count, memory, and deterministic kernels on a GPU (contract 2)."""
    keep_freed_memory()
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    if machine.device.startswith("cuda"):
        # not warn_only: attention takes its deterministic kernels only where they are demanded
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
