"""Artefacts on disk: tensors with metadata, checked by digest, named by content.

A file is written under a temporary name and renamed, so it is whole or absent; it carries the
sha256 of its tensors and of its metadata, so damage is noticed on load. safetensors only: nothing
read back here can execute code (contract 11).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from fl_core.base.errors import UserError
from fl_core.base.files import replacing
from fl_core.base.locations import is_local, local_copy, make_folder, reason


class DamagedArtefact(Exception):
    """A file that is not what its digest says."""


def save_artefact(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata to `path`, atomically, with a digest per tensor.

    A remote file (base.locations) is put in one piece, as whole as its file system makes it.
    """
    # copies: safetensors refuses tensors that share memory, as "params" and "best" may
    plain = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    digests = {name: tensor_digest(tensor) for name, tensor in plain.items()}
    text = {"meta": json.dumps(meta), "sha256": json.dumps(digests)}
    metadata = {**text, "checksum": _checksum(text)}
    try:
        if not is_local(path):
            make_folder(path.parent)
            path.write_bytes(save(plain, metadata))
            return
    except Exception as error:  # every file system of fsspec raises its own kinds
        raise UserError(f"{path}: cannot be written ({reason(error)})") from error
    try:
        with replacing(path) as temporary:
            save_file(plain, temporary, metadata=metadata)
            temporary.chmod(0o644)  # safetensors makes it readable for one account alone
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({error})") from error


def load_artefact(
    path: Path, prefix: str = "", *, mapped: bool = False
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors whose name starts with `prefix`, metadata); DamagedArtefact if bytes differ.

    mapped: the tensors stay in the file, whose memory all processes share; it is never written to
    in place.
    """
    try:
        with local_copy(path) as local, safe_open(local, framework="pt") as file:
            text = file.metadata() or {}
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in names}
        if not mapped:  # copies of the bytes: views of the mapped file would change with it
            tensors = {n: torch.from_numpy(t.numpy().copy()) for n, t in tensors.items()}
        if text["checksum"] != _checksum(text):
            raise ValueError("wrong digest of its metadata")
        meta, digests = json.loads(text["meta"]), json.loads(text["sha256"])
        wanted = sorted(tensors.keys() | {name for name in digests if name.startswith(prefix)})
        wrong = [n for n in wanted if tensor_digest(tensors[n]) != digests[n]]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DamagedArtefact(f"{path}: cannot be read ({error})") from error
    if wrong:
        raise DamagedArtefact(f"{path}: wrong digest of {', '.join(wrong)}")
    return tensors, meta


def cached(
    path: Path,
    make: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]],
    prefix: str = "",
    *,
    mapped: bool = False,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The artefact at `path`, made and stored if it is missing or damaged."""
    if path.exists():
        try:
            return load_artefact(path, prefix, mapped=mapped)
        except DamagedArtefact as damage:
            print(f"{damage}: rebuilding it", file=sys.stderr)
    save_artefact(path, *make())
    return load_artefact(path, prefix, mapped=mapped)


def tensor_digest(tensor: Tensor) -> str:
    """Of a CPU tensor's bits, type and shape."""
    flat = np.ascontiguousarray(tensor.numpy()).reshape(-1)  # no copy of what may be gigabytes
    digest = hashlib.sha256(flat.view(np.uint8).data).hexdigest()
    return f"{digest} {tensor.dtype} {tuple(tensor.shape)}"


def _checksum(text: Mapping[str, str]) -> str:
    return hashlib.sha256((text["meta"] + text["sha256"]).encode()).hexdigest()
