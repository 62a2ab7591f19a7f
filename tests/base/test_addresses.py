"""Servers that are not there: one line, at once, with what to do."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from fl_analysis.reading.connect import connect
from fl_core.base import addresses
from fl_core.base.addresses import answers, check_ray_address, check_tracking_uri, split
from fl_core.base.errors import UserError, hidden
from fl_core.base.locations import location


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a server that only listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def dead() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def refused(check: object, name: str) -> str:
    """What the user is told, in one line, soon."""
    assert callable(check)
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        check(name)
    assert time.monotonic() - started < 30
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_host_and_port() -> None:
    assert split("127.0.0.1:6379") == ("127.0.0.1", 6379)
    assert split("[::1]:6379") == ("::1", 6379)
    for wrong in ("nowhere", ":6379", "host:port", "host:99999999", "host:-1", ""):
        with pytest.raises(ValueError, match="HOST:PORT"):
            split(wrong)


def test_who_answers(server: int, dead: int) -> None:
    assert answers("127.0.0.1", server)
    assert not answers("127.0.0.1", dead)
    assert not answers("nowhere.invalid", dead)
    assert not answers("x" * 300, dead)  # a longer name than there can be


def test_ray_addresses(server: int, dead: int) -> None:
    check_ray_address(f"127.0.0.1:{server}")
    said = refused(check_ray_address, f"127.0.0.1:{dead}")
    assert said.startswith(f"--ray-address 127.0.0.1:{dead}: no Ray head answers there")
    assert "no Ray head answers there" in refused(check_ray_address, "nowhere.invalid:6379")
    for wrong in ("127.0.0.1", ":6379", "host:99999999"):
        assert "give HOST:PORT, or auto" in refused(check_ray_address, wrong)
    assert "on a machine of the cluster" in refused(check_ray_address, "ray://127.0.0.1:10001")


def test_auto_means_the_environment(
    server: int, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check_ray_address("auto")  # for Ray to find
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server}")
    check_ray_address("auto")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{dead}")
    assert f"127.0.0.1:{dead}: no Ray head" in refused(check_ray_address, "auto")
    check_ray_address(f"127.0.0.1:{server}")  # one that is named counts


def test_tracking_uris(server: int, dead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for fine in ("sqlite:///x.db", "postgresql://u@h/d", f"http://127.0.0.1:{server}"):
        check_tracking_uri(fine)
    said = refused(check_tracking_uri, f"http://127.0.0.1:{dead}")
    assert said.startswith(f"--tracking-uri http://127.0.0.1:{dead}: no server answers there")
    for wrong in ("file:./mlruns", "mlruns", "mongodb://x"):
        assert "give sqlite:" in refused(check_tracking_uri, wrong)
    assert "no address" in refused(check_tracking_uri, "http://[::1")
    for wrong in ("http://host:99999999", "http://"):
        assert "no server answers there" in refused(check_tracking_uri, wrong)
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(addresses, "_knock", lambda *place: seen.append(place))
    check_tracking_uri("https://mlflow.example.org/prefix")
    check_tracking_uri("http://mlflow.example.org")
    assert seen == [("mlflow.example.org", 443), ("mlflow.example.org", 80)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:se@cr/et@host:5000/x", "http://me:***@host:5000/x"),
        ("(https://:key@host) and ftp://a:b@c", "(https://:***@host) and ftp://a:***@c"),
        ("s3://KEY:SECRET@bucket/x", "s3://KEY:***@bucket/x"),
        ("mysql://host/runs?user=me&Password=x&a=1", "mysql://host/runs?user=me&Password=***&a=1"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/a:b@c.db", "sqlite:////home/a:b@c.db"),
    ],
)
def test_passwords_are_hidden(text: str, shown: str) -> None:
    """Whatever is printed or kept; rather too much of a text than a part of a password."""
    assert hidden(text) == shown


def test_addresses_with_a_password_are_refused() -> None:
    """Before any work, without repeating it, and with what to do instead."""
    for refused, option in (
        (check_tracking_uri, "http://me:secret@127.0.0.1:1"),
        (location, "s3://KEY:secret@bucket/runs"),
    ):
        with pytest.raises(UserError, match="no password here; set ") as error:
            refused(option)
        assert "secret" not in str(error.value)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_PASSWORD") as told:
        connect("http://me:secret@127.0.0.1:1")
    assert "secret" not in str(told.value)
