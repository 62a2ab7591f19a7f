"""What a command asks for, as a whole: all that can be refused is refused here.

No file is written (but for probes, which are removed) and no process started before `request_of`
has returned; a server that a study is told of is asked whether it is there.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from fl_core.base.addresses import check_ray_address
from fl_core.base.machine import Machine
from fl_core.study import options, resources
from fl_core.study.folder import check_fresh
from fl_core.study.plan import Plan
from fl_core.study.resolved import ResolvedStudy, resolve
from fl_core.study.study import Study


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
    uri = options.tracking_uri(args)
    if args.ray_address:
        check_ray_address(args.ray_address)
    out = resources.out_of(args, study.name)
    resources.check_folders(args, study.name, out)
    if args.fresh:
        check_fresh(out, study.name)
    from fl_core.study.search import samplers

    samplers.check_searcher(plan.searcher, resolved.space, 1 + len(resolved.objectives))
    machine = resources.machine_of(args)
    if resolved.uses_images:
        precision = resources.default_precision(machine)
        resolved = resolved.with_default("compute.precision", precision)
    return Request(resolved, plan, uri, out, machine)
