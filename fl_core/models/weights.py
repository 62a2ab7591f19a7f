"""Files of weights, which `--weights` names: safetensors alone, known by their content."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from fl_core.base.errors import UserError
from fl_core.config.sections import BackboneConfig


@cache
def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes; UserError where it cannot be read."""
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device has no end
        raise UserError(f"--weights {path}: cannot be read (not a file)")
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"--weights {path}: cannot be read ({error.strerror})") from error


def stored_names(path: Path) -> set[str]:
    """The names in a safetensors file: other formats can execute code when they are read."""
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except (OSError, SafetensorError) as error:
        raise UserError(f"--weights {path}: is no readable safetensors file ({error})") from error


def check_weights(config: BackboneConfig, path: Path | None) -> None:
    """UserError where `weights=sha256:…` names another file than this, or there is none."""
    if not config.weights.startswith("sha256:"):
        return
    if path is None:
        raise UserError(f"backbone.weights={config.weights!r}: name the file with --weights")
    if f"sha256:{file_sha256(path)}" != config.weights:
        raise UserError(f"--weights {path}: is not the file of {config.weights}")
