"""The study of asynchrony: what its arms have in common."""

from __future__ import annotations

import pytest

from fl_core.study.resolved import resolve
from fl_studies.asynchronous import STUDY


@pytest.mark.parametrize("preset", STUDY.presets)
def test_every_arm_asks_for_as_many_updates_of_as_many_steps(preset: str) -> None:
    """Where FedBuff steps more often, it has less in a step; all clients are at work alike."""
    configs = [arm.config for arm in resolve(STUDY, STUDY.presets[preset], {}).arms]
    at_work = {c.federation.sampled for c in configs}
    assert at_work == {10}
    each = [c.timing.buffer if c.timing.mode == "buffered" else 10 for c in configs]
    work = {(c.rounds * n, c.local.steps) for c, n in zip(configs, each, strict=True)}
    assert len(work) == 1
    assert {c.eval_every for c in configs} == {configs[0].eval_every}
