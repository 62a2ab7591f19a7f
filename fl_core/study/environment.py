"""Variables that Ray, MLflow and torch read, most of them when they are imported.

Whoever imports one of them for a study calls the function of its name before. What the user has
set stays.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache

#: Of every process that computes: they decide what kernels do, and what they take.
KERNELS = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products on a GPU
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads collapse when cores are shared
}
RAY = {
    "RAY_AIR_NEW_OUTPUT": "0",  # our own display instead
    "RAY_USAGE_STATS_ENABLED": "0",  # no network
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "true",  # SIGTERM is ours (study.stopping): no C++ stack
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow is the log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C stops at once: every trial has its checkpoint
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",  # our journal and trial files are the state
}
#: No network but the store's; no links printed for every run; no retries inside MLflow: `outbox`
#: retries, and only it knows that a run whose answer was lost must be looked for before it is
#: created again.
MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: A new store's set-up is ten lines, an outage a traceback for every try: we say it in one.
_TALKATIVE = (
    "alembic",
    "mlflow.store.db.utils",
    "urllib3.connectionpool",
    "mlflow.system_metrics",
)


def before_ray(*, cluster: bool = False) -> None:
    """Before Ray is imported. Its processes on this machine inherit the variables.

    Ray's ports answer the whole network, and who may speak to them may run code. An instance of our
    own obeys nobody without this process's token; `cluster`: one that is joined has rules of its
    own, and the user's environment the token.
    """
    _default(RAY)
    _default(KERNELS)
    if not cluster:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}


@cache
def _token() -> str:
    """A fresh one, in the environment alone: who reads that of our processes is this user."""
    return os.urandom(32).hex()


def before_mlflow() -> None:
    """Before MLflow is imported."""
    _default(MLFLOW)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _default(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)
