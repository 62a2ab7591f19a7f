"""What a command asks for, as a whole: all that can be refused is refused here.

No file is written (but for probes, which are removed) and no process started before `request_of`
has returned; a server that a study is told of is asked whether it is there.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from fl_core.base.addresses import check_ray_address
from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.config.sections import MOST_SEED
from fl_core.study import options, resources
from fl_core.study.folder import check_fresh
from fl_core.study.plan import Plan
from fl_core.study.resolved import ResolvedStudy, resolve
from fl_core.study.settled import within
from fl_core.study.study import Study
from fl_core.study.tracking.mirrors import check_mirrors

MOST_RUNS = 100_000  # of a study: more than a year at five minutes each


@dataclass(frozen=True)
class Request:
    """A study that can run: what, how, where its results go and on what."""

    study: ResolvedStudy
    plan: Plan
    uri: str
    out: Path
    machine: Machine


def request_of(study: Study, args: argparse.Namespace) -> Request:
    """What these options ask of a study; UserError for what is not possible.

    What is cheap comes first: a mistake is told before torch is imported.
    """
    fixed = options.fixed_values(args)
    resolved = resolve(study, study.presets[args.preset], fixed, joint=args.search_arms)
    resolved.check_confirmation(args.confirm_on)
    plan = options.plan_of(args, resolved)
    check_size(plan, len(resolved.arms), args.seeds or resolved.preset.seeds)
    uri = options.tracking_uri(args)
    check_mirrors(args.also)
    if args.ray_address:
        check_ray_address(args.ray_address)
    out = resources.out_of(args, study.name)
    from fl_core.study.search import probing, samplers

    probing.check_space(resolved.space, resolved.arms, study.file)
    for arm in resolved.arms:
        space = within(resolved.space, arm)
        samplers.check_searcher(plan.searcher, space, 1 + len(resolved.objectives))
    machine = resources.machine_of(args)
    from fl_core.federated.timing.checks import check_devices
    from fl_core.own_methods import check_own_methods

    for arm in resolved.arms:
        check_own_methods(arm.config)
        check_devices(arm.config)
    if args.fresh:
        check_fresh(out, study.name)
    resources.check_folders(args, study.name, out)  # the last: a storage is tried by writing
    if resolved.uses_images:
        precision = resources.default_precision(machine)
        resolved = resolved.with_default("compute.precision", precision)
    return Request(resolved, plan, uri, out, machine)


def check_size(plan: Plan, arms: int, seeds: int) -> None:
    """UserError for a study that cannot end. A time budget ends any search."""
    trials = 0 if plan.seconds is not None or plan.searcher == "grid" else plan.trials
    runs = arms * (trials + min(plan.finalists, plan.trials) * seeds)
    if runs > MOST_RUNS:
        asked = f"--trials {plan.trials}, --seeds {seeds}, --finalists {plan.finalists}"
        raise UserError(f"{asked}: {runs:,} runs of {arms} arms; must be at most {MOST_RUNS:,}")
    if plan.seed + seeds > MOST_SEED:
        raise UserError(f"--seed {plan.seed}: must be at most {MOST_SEED - seeds}")
