"""What a method sends is what the ledger counts: every byte of four rounds, by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from methods import METHODS, Facts, Method, facts_of
from tiny import (
    CLIENTS,
    MASKS,
    bits,
    configured,
    federation,
    results,
    rough,
    start,
    travels,
    turnout,
    updates_of,
)
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.rules.table import rule_of
from fl_core.federated.server import begun
from fl_core.federated.state import Federation, State
from fl_core.optim.sgdm import Active

every_method = pytest.mark.parametrize("method", METHODS, ids=str)
HEADER = 16


@pytest.mark.parametrize("masks", MASKS)
@every_method
def test_every_byte_is_counted(method: Method, masks: str) -> None:
    facts = facts_of(f"{method.field}={method.choice}")
    cfg = configured(method, masks)
    fed = federation(cfg)
    state, seen = start(fed), set[int]()
    own = int((~travels(cfg, fed)).sum())  # which comes once, with the first download
    sent = as_sent(cfg, fed)
    for result in results(cfg, fed):
        here = turnout(cfg, fed, state)
        chosen, clients = here.chosen, here.chosen.clients.tolist()
        began = clients if here.staleness is None else [fate.client for fate in here.fates]
        down = sum(download(sent, masks, client, seen, facts) for client in began)
        down += len(set(began) - seen) * values(own) if own else 0
        up = sum(upload(sent, masks, client, seen, facts) for client in clients)
        more_down, more_up = exchange(sent, masks, clients, seen, facts.fisher)
        more_down += facts.numbers[0] * len(clients) * (HEADER + 4)
        more_up += facts.numbers[1] * len(clients) * (HEADER + 4)
        down, up = down + more_down, up + more_up + len(chosen.asked) * (HEADER + 4)
        more_down, more_up = agreement(len(clients), facts.protocol)
        down, up = down + more_down, up + more_up
        down += sum(judged(sent, masks, c, seen, facts) for c in set(chosen.asked) - set(clients))
        assert result.metrics["bytes_down_round"] == down
        assert result.metrics["bytes_up_round"] == up
        seen |= set(clients)
        state = result.state


def as_sent(cfg: TrialConfig, fed: Federation) -> Federation:
    """The federation of those entries alone that travel."""
    entries, masks = travels(cfg, fed), fed.masks
    layout = SimpleNamespace(size=int(entries.sum()))
    restricted = None if masks is None else (lambda c: Active.of(masks(c).mask[entries]))
    return replace(fed, model=SimpleNamespace(layout=layout), masks=restricted)  # type: ignore[arg-type]


def trained(fed: Federation, clients: list[int]) -> Tensor:
    """(P,) bool: the entries that any of these clients trains."""
    if fed.masks is None:
        return torch.ones(fed.model.layout.size, dtype=torch.bool)
    return torch.stack([fed.masks(client).mask for client in clients]).any(0)


def values(count: int) -> int:
    return HEADER + 4 * count


def located(count: int, size: int) -> int:
    """Values with their positions: as indices or as a bitmap."""
    return min(HEADER + 8 * count, HEADER + (size + 7) // 8 + 4 * count)


def download(fed: Federation, masks: str, client: int, seen: set[int], facts: Facts) -> int:
    """At first everything, and a shared mask; later what may have changed. A client that makes a
    mask, or its Fisher information, after the first round needs the start too.
    """
    size, vectors = fed.model.layout.size, facts.down
    told = facts.fisher == "all"  # before the first round
    if fed.masks is None:
        late = client not in seen and bool(seen) and facts.fisher == "round"
        return (vectors + late) * values(size)
    active = int(fed.masks(client).mask.sum())
    union = int(trained(fed, sorted(seen)).sum()) if seen else 0
    changed = min(located(union, size), values(size))
    if client not in seen and not told:
        if masks == "shared":
            late = bool(seen) and facts.fisher == "round"
            return vectors * values(size) + shared_mask(active, size) + late * values(active)
        return vectors * values(size) + (changed if seen else 0)
    if masks == "shared":
        return vectors * values(active)
    return changed + (vectors - 1) * values(union)


def judged(fed: Federation, masks: str, client: int, seen: set[int], facts: Facts) -> int:
    """The model alone, for a client that was asked and not chosen, which then forgets it."""
    size = fed.model.layout.size
    if fed.masks is None or (client not in seen and facts.fisher != "all"):
        return values(size)
    if masks == "shared":
        return values(int(fed.masks(client).mask.sum()))
    return download(fed, masks, client, seen | {client}, replace(facts, down=1))


def shared_mask(active: int, size: int) -> int:
    return HEADER + min(4 * active, (size + 7) // 8)


def exchange(
    fed: Federation, masks: str, clients: list[int], seen: set[int], whose: str
) -> tuple[int, int]:
    """(down, up) bytes of Fisher information and its sums: of all entries, but under a shared mask,
    and where the server knows the client's own mask by then.
    """
    size, new = fed.model.layout.size, [c for c in clients if c not in seen]
    active = {c: size if fed.masks is None else int(fed.masks(c).mask.sum()) for c in clients}
    every = active[clients[0]] if masks == "shared" else size
    if whose == "round":
        known = (values(active[c]) for c in clients if c in seen)
        return sum(known), len(new) * values(every)
    if whose == "all":
        down, up = len(new) * values(every), 0
        if not seen:
            mask = shared_mask(every, size) if masks == "shared" else 0
            down, up = down + CLIENTS * (values(size) + mask), CLIENTS * values(every)
        return down, up
    return 0, 0


def agreement(clients: int, protocol: str) -> tuple[int, int]:
    """(down, up) bytes of what a round's clients exchange to hide their updates."""
    pairs = clients * (clients - 1)
    if protocol == "seeds":
        key, sealed = 32, 32 + 32 + 8 + 16
        return (clients - 1) * (key + sealed), (clients - 1) * sealed + key
    if protocol == "masked":
        number, keys, share = 4, 2 * 32, 33
        shares = pairs * (number + 2 * share + 16)
        down = clients * clients * (number + keys) + shares + clients * clients * number
        return down, clients * keys + shares + clients * clients * (number + share)
    return 0, 0


def upload(fed: Federation, masks: str, client: int, seen: set[int], facts: Facts) -> int:
    """The entries that train, with their positions where the server does not know them yet."""
    size, vectors = fed.model.layout.size, facts.up
    active = size if fed.masks is None else int(fed.masks(client).mask.sum())
    if facts.protocol == "masked":
        return 4 * (active + 1)
    if fed.masks is None:
        return vectors * values(size)
    if masks == "shared" or client in seen:
        return vectors * values(active)
    return located(active, size) + (vectors - 1) * values(active)


@pytest.mark.parametrize("masks", MASKS)
@every_method
def test_what_is_sent_is_of_the_entries_counted(method: Method, masks: str) -> None:
    """Vectors beside the parameters are zero where a client does not train: up, and down."""
    facts = facts_of(f"{method.field}={method.choice}")
    cfg = rough(configured(method, masks))
    fed, rule = federation(cfg), rule_of(cfg.local)
    assert 1 + len(rule.broadcast) == facts.down
    for state in states(fed, cfg):
        here = turnout(cfg, fed, state)
        for update in updates_of(cfg, fed, state, here):
            vectors = {n: t for n, t in update.sent.items() if t.dim()}
            began = here.starts.get(update.client, state)
            assert len(vectors) == facts.up
            assert len(update.sent) - len(vectors) == facts.numbers[1]
            frozen = ~(trained(fed, [update.client]) & travels(cfg, fed))
            for name, tensor in vectors.items():
                assert tensor.numel() == fed.model.layout.size
                assert tensor.dtype == torch.float32
                wanted = began.params if name == "params" else torch.zeros_like(tensor)
                assert torch.equal(tensor[frozen], wanted[frozen])
        if state.participants:
            unknown = ~(trained(fed, sorted(state.participants)) & travels(cfg, fed))
            for name in rule.broadcast:
                assert not state.server[f"rule/{name}"][unknown].any()


@every_method
def test_a_client_needs_no_more_than_it_is_sent(method: Method) -> None:
    """The server's other tensors change nothing at the clients."""
    cfg = configured(method)
    fed, rule = federation(cfg), rule_of(cfg.local)
    sent = {f"rule/{name}" for name in rule.broadcast}
    for state in states(fed, cfg):
        here = turnout(cfg, fed, state)
        less = replace(state, server={n: t for n, t in state.server.items() if n in sent})
        for one, other in zip(*(updates_of(cfg, fed, s, here) for s in (state, less)), strict=True):
            assert {n: bits(t) for n, t in one.sent.items()} == {
                n: bits(t) for n, t in other.sent.items()
            }


def states(fed: Federation, cfg: TrialConfig) -> list[State]:
    """Before the first round, and after every one."""
    found = [r.state for r in results(cfg, fed)]
    return [begun(start(fed), rule_of(cfg.local)), *found[:-1]]
