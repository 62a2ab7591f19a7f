"""Variables that packages read when they are imported: set before, and by nobody's import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fl_core.study import environment

QUIET = """
import os, sys
before = dict(os.environ)
import fl_core.study.command, fl_core.study.replay, fl_core.study.environment
assert dict(os.environ) == before
assert not {"ray", "mlflow"} & set(sys.modules)
"""


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")  # given back after the test
    for name in (*environment.RAY, *environment.KERNELS, *environment.MLFLOW):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    environment.before_ray()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "MLFLOW_DISABLE_TELEMETRY" not in os.environ
    environment.before_mlflow()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"


def test_ray_gets_a_token_and_a_cluster_keeps_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the cluster's")
    environment.before_ray(cluster=True)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert os.environ["RAY_AUTH_TOKEN"] == "the cluster's"
    tokens = []
    for _ in range(2):  # Ray keeps the first one that it reads
        environment.before_ray()
        assert os.environ["RAY_AUTH_MODE"] == "token"
        tokens.append(os.environ["RAY_AUTH_TOKEN"])
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) == 64


def test_an_import_sets_nothing() -> None:
    subprocess.run([sys.executable, "-c", QUIET], check=True)
