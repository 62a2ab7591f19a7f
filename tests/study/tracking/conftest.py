"""As the command of a study does, before MLflow is imported."""

from __future__ import annotations

from fl_core.study import environment

environment.before_mlflow()
