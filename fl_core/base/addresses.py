"""Servers that a study is told of: does anybody answer there? (standard library alone)

Ray and MLflow would wait for minutes before they say that nobody does.
"""

from __future__ import annotations

import os
import socket
from urllib.parse import urlparse

from fl_core.base.errors import UserError, hidden

SECONDS = 5.0  # for a connection
STORES = ("sqlite", "postgresql", "mysql", "mssql", "databricks")


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _knock(host, port)
    except OSError:
        return False
    return True


def split(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; ValueError if it is not that."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit() and int(port) < 2**16):
        raise ValueError(f"{address}: not HOST:PORT")
    return host.strip("[]"), int(port)


def check_ray_address(address: str) -> None:
    """UserError for a head of a Ray cluster that is not there."""
    # auto: what RAY_ADDRESS says, else Ray looks for a cluster that runs on this machine
    named = os.environ.get("RAY_ADDRESS") or "auto" if address == "auto" else address
    option = f"--ray-address {named}"
    if named.startswith("ray://"):
        raise UserError(
            f"{option}: a study cannot run through Ray's client; run its command on a machine of "
            "the cluster, with --ray-address HOST:PORT"
        )
    if named == "auto":
        return
    try:
        _knock(*split(named))
    except ValueError as error:
        raise UserError(f"{option}: give HOST:PORT, or auto") from error
    except OSError as error:
        raise UserError(
            f"{option}: no Ray head answers there ({error}); start one with ray start --head, or "
            "leave the option out"
        ) from error


def check_no_password(option: str, address: str, instead: str) -> None:
    """UserError for an address with a password in it: the command line is seen by everybody on the
    machine, and kept with the study.
    """
    if hidden(address) != address:
        raise UserError(f"{option} {hidden(address)}: no password here; {instead}")


def check_store_password(uri: str) -> None:
    """UserError for a tracking server's address with a password in it."""
    instead = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    check_no_password("--tracking-uri", uri, instead)


def check_tracking_uri(uri: str) -> None:
    """UserError for a kind of MLflow store that is none, or a server that does not answer."""
    option = f"--tracking-uri {hidden(uri)}"
    try:
        parsed = urlparse(uri)
    except ValueError as error:  # http://[::1
        raise UserError(f"{option}: no address ({error})") from error
    if parsed.scheme in ("http", "https"):
        check_store_password(uri)
        try:
            port = parsed.port or (443 if parsed.scheme == "https" else 80)
            _knock(parsed.hostname or "", port)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{option}: no server answers there ({error}); start it or leave the option out to "
                "log into ./mlflow.db"
            ) from error
    elif parsed.scheme not in STORES:
        raise UserError(
            f"{option}: not a store MLflow can use here; give sqlite:////abs/file.db or "
            "http://host:port"
        )


def _knock(host: str, port: int) -> None:
    """OSError where nobody opens."""
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except UnicodeError as error:  # a name that no host can have
        raise OSError(str(error)) from error
