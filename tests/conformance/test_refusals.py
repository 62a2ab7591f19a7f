"""A setting that makes no sense is refused in one line, before any work."""

from __future__ import annotations

import pytest
from methods import CHOICES, METHODS, TABLES, Method, Settings
from other_values import TEXT, another_value
from refusals_of_systems import PACE, SECURE, TIMING
from tiny import configured

from fl_core.base.errors import ConfigError
from fl_core.config.method_sections import HeadLocalConfig
from fl_core.config.methods import SUMMING
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.rules.table import rule_of

#: (settings, the field that the line names, the reason that it gives)
LOCAL: list[tuple[Settings, str, str]] = [
    ({"local.rule": "scaffold", "local.momentum": 0.9}, "momentum=0.9",
     "local.rule=scaffold takes no momentum"),
    ({"local.mu": 0.1}, "mu=0.1", "only for local.rule=prox"),
    ({"local.rule": "scaffold", "local.mu": 0.1}, "mu=0.1", "only for local.rule=prox"),
    ({"local.rule": "prox", "local.mu": -0.1}, "mu=-0.1", "must be in [0, "),
    ({"local.option": 1}, "option=1", "only for local.rule=scaffold"),
    ({"local.rule": "prox", "local.option": 1}, "option=1", "only for local.rule=scaffold"),
    ({"local.rule": "scaffold", "local.option": 3}, "option=3", "must be in [1, 2]"),
    ({"local.rule": "fedprox"}, "rule='fedprox'", "must be plain or prox or scaffold"),
    ({"local.rule": "ghbm", "local.momentum": 0.9}, "momentum=0.9",
     "local.rule=ghbm takes no momentum"),
    ({"local.rule": "hbm", "local.momentum": 0.9}, "momentum=0.9",
     "local.rule=hbm takes no momentum"),
    ({"local.rule": "cm", "local.momentum": 0.9}, "momentum=0.9",
     "local.rule=cm takes no momentum"),
    ({"local.rule": "cm", "local.alpha": 1.5}, "alpha=1.5", "must be in (0, 1] for local.rule=cm"),
    ({"local.rule": "ghbm", "local.tau": 0}, "tau=0", "must be in [1, "),
    ({"local.rule": "hbm", "local.tau": 5}, "tau=5", "only for local.rule=ghbm"),
    ({"local.beta": 0.5}, "beta=0.5", "only for local.rule=ghbm or hbm"),
    ({"local.alpha": 0.5}, "alpha=0.5", "only for local.rule=dyn or cm"),
    ({"local.rule": "dyn", "local.alpha": 0.0}, "alpha=0.0", "must be in (0, "),
    ({"local.nesterov": True}, "nesterov=True", "momentum > 0"),
    ({"local.optimiser": "adam"}, "optimiser='adam'", "must be sgdm or lars or lamb or adamw"),
    ({"local.optimiser": "adamw", "local.momentum": 0.9}, "momentum=0.9",
     "only for local.optimiser=sgdm or lars"),
    ({"local.optimiser": "lamb", "local.dampening": 0.1}, "dampening=0.1",
     "only for local.optimiser=sgdm or lars"),
    ({"local.optimiser": "lamb", "local.nesterov": True}, "nesterov=True", "only for local.opt"),
    ({"local.optimiser": "lamb", "local.trust": 0.1}, "trust=0.1", "only for local.optimiser=lars"),
    ({"local.beta1": 0.5}, "beta1=0.5", "only for local.optimiser=lamb or adamw"),
    ({"local.optimiser": "lars", "local.eps": 0.1}, "eps=0.1", "only for local.optimiser=lamb or"),
    ({"local.optimiser": "adamw", "local.rule": "scaffold"}, "rule='scaffold'",
     "needs local.optimiser=sgdm, which is 'adamw'"),
    ({"local.optimiser": "lamb", "local.rule": "cm"}, "rule='cm'", "needs local.optimiser=sgdm"),
    ({"local.clip": -1.0}, "clip=-1.0", "must be in [0, "),
    ({"local.momentum": 1.0}, "momentum=1.0", "must be in [0, 1)"),
]  # fmt: skip
ALL_KEEP: Settings = {"local.keep_momentum": True, "federation.participation": 1.0}
CHARS: Settings = {"data.name": "tinyshakespeare", **TEXT}
READERS: list[tuple[Settings, str, str]] = [
    ({"data.scored": "last"}, "data.scored='last'", "only for text"),
    ({"data.stride": 1}, "data.stride=1", "only for data.name=shakespeare"),
    ({**CHARS, "data.stride": 1}, "data.stride=1", "only for data.name=shakespeare"),
    ({**CHARS, "data.path": __file__}, "data.path=", "data.name=tinyshakespeare has none"),
    ({**CHARS, "data.name": "shakespeare"}, "data.path='none'", "needs Shakespeare's plays"),
    ({"data.name": "tinyshakespeare"}, "backbone.name='vit_tiny", "is text: needs char_lstm"),
    ({**TEXT}, "backbone.name='char_lstm'", "reads text: needs data.name=tinyshakespeare"),
    ({**CHARS, "backbone.weights": "pretrained"}, "weights='pretrained'", "has no pre-trained"),
    ({**CHARS, "fine_tune.strategy": "head"}, "fine_tune.strategy='head'", "needs full"),
    ({**CHARS, "fine_tune.strategy": "sparse_full"}, "'sparse_full'", "needs full"),
    ({**CHARS, "head.method": "ridge"}, "head.method='ridge'", "frozen features, which a text has"),
    ({**CHARS, "local.blend": "fisher"}, "local.blend='fisher'", "takes one label an example"),
    ({**CHARS, "attack.rule": "label_flip", "attack.share": 0.5}, "attack.rule='label_flip'",
     "text needs sign_flip or gaussian"),
    ({**CHARS, "timing.mode": "superclients"}, "timing.grouping=", "text needs oracle or random"),
    ({**CHARS, "data.crop": 4}, "data.crop=4", "text is not augmented"),
    ({**CHARS, "compute.execution": "stacked"}, "compute.execution='stacked'", "six times slower"),
]  # fmt: skip
OTHERS: list[tuple[Settings, str, str]] = [
    ({"local.rule": "prox", "local.blend": "fisher"}, "local.blend='fisher'",
     "only for local.rule=plain"),
    ({"local.rule": "scaffold", "local.blend": "fisher"}, "local.blend='fisher'",
     "only for local.rule=plain"),
    ({"local.rule": "dyn", "local.blend": "fisher"}, "local.blend='fisher'",
     "only for local.rule=plain"),
    ({"local.keep_momentum": True}, "local.keep_momentum=True",
     "only where every client takes part in every round"),
    ({**ALL_KEEP, "select.rule": "cyclic"}, "local.keep_momentum=True", "may miss a round"),
    ({**ALL_KEEP, "timing.mode": "buffered"}, "local.keep_momentum=True", "may miss"),
    ({**ALL_KEEP, "timing.mode": "superclients"}, "local.keep_momentum=True", "may miss"),
    ({**ALL_KEEP, "timing.dropout": 0.1}, "timing.dropout=0.1", "a state that is out of date"),
    ({**ALL_KEEP, "timing.deadline": 9.0}, "timing.deadline=9.0", "a state that is out of date"),
    ({**ALL_KEEP, "personal.rule": "fedrep", "head.hidden": 8}, "local.keep_momentum=True",
     "has a second optimiser"),
    ({**ALL_KEEP, "personal.rule": "ditto"}, "local.keep_momentum=True", "a second optimiser"),
    ({**ALL_KEEP, "schedule.batch": "noise_scale"}, "schedule.batch='noise_scale'",
     "takes updates for gradients: needs local.keep_momentum=False"),
    ({"head.shrinkage": 0.5}, "head.shrinkage=0.5", "only for head.method=cof"),
    ({"head.method": "ncm", "head.means": 2}, "head.means=2", "only for head.method=cof"),
    ({"head.method": "cof", "head.hidden": 8}, "head.hidden=8", "is of a linear head"),
    ({"rounds": 0}, "rounds=0", "nothing would be learnt"),
    ({"server.beta1": 0.5}, "server.beta1=0.5", "only for server.optimiser=adagrad or adam"),
    ({"server.tau": 0.5}, "server.tau=0.5", "only for server.optimiser=adagrad or adam or yogi"),
    ({"server.momentum": 0.5}, "server.momentum=0.5", "only for server.optimiser=momentum"),
    ({"server.optimiser": "adam", "server.momentum": 0.5}, "server.momentum=0.5", "only for"),
    ({"server.optimiser": "adagrad", "server.beta2": 0.5}, "server.beta2=0.5",
     "only for server.optimiser=adam or yogi"),
    ({"server.optimiser": "momentum", "server.beta1": 0.5}, "server.beta1=0.5", "only for"),
    ({"server.bias_correction": True}, "server.bias_correction=True", "only for"),
    ({"server.optimiser": "adam", "server.tau": 0.0}, "server.tau=0.0", "must be in (0, "),
    ({"server.optimiser": "adam", "server.beta1": 1.0}, "server.beta1=1.0", "must be in [0, 1)"),
    ({"server.lr": 0.0}, "server.lr=0.0", "must be in (0, "),
    ({"server.optimiser": "fedadam"}, "server.optimiser='fedadam'", "must be sgd or"),
    ({"personal.lambda_": 0.1}, "personal.lambda_=0.1", "only for personal.rule=ditto"),
    ({"personal.steps": 3}, "personal.steps=3", "only for personal.rule=fedrep or ditto or fine"),
    ({"personal.rule": "ditto", "personal.lambda_": -1.0}, "personal.lambda_=-1.0", "must be in ["),
    ({"personal.rule": "ditto", "mask.sparsity": 0.5, "mask.recalibrate": 5},
     "personal.rule='ditto'", "not where masks change over the rounds"),
    ({"personal.rule": "local", "select.rule": "power_of_choice"}, "power_of_choice",
     "of which clients train a part by themselves"),
    ({"personal.rule": "local", "server.lr": 0.5}, "server.lr=0.5", "shares nothing"),
    ({"personal.rule": "local", "local.rule": "prox"}, "local.rule='prox'", "shares nothing"),
    ({"personal.rule": "fedper"}, "personal.rule='fedper'", "nothing is shared: that is personal"),
    ({"personal.rule": "fedrep"}, "personal.rule='fedrep'", "nothing is shared: that is personal"),
    ({"personal.rule": "fedper", "fine_tune.strategy": "head_then_sparse_backbone",
      "head.method": "ridge"}, "personal.rule='fedper'", "needs a strategy that trains the head"),
    ({"personal.rule": "fedbn"}, "personal.rule='fedbn'", "needs layers that normalise"),
    ({"personal.rule": "fedbn", "head.hidden": 8}, "personal.rule='fedbn'", "head.norm=layer"),
    ({"personal.rule": "fedrep", "head.hidden": 8, "personal.steps": 4}, "personal.steps=4",
     "the rest are the body's"),
    ({"personal.rule": "ditto", "federation.clients": 1}, "personal.rule='ditto'",
     "needs several clients"),
    ({"personal.rule": "ditto", "keep": "best"}, "keep='best'", "must be last with personal.rule"),
    ({"schedule.name": "linear"}, "schedule.name='linear'", "must be constant or"),
    ({"schedule.warmup": 0.5}, "schedule.warmup=0.5", "only for schedule.name=warmup_cosine"),
    ({"schedule.name": "cosine", "schedule.gamma": 0.5}, "schedule.gamma=0.5",
     "only for schedule.name=step"),
    ({"schedule.name": "warmup_cosine", "schedule.step_size": 0.5}, "schedule.step_size=0.5",
     "only for schedule.name=step"),
    ({"mask.sparsity_end": 0.5}, "mask.sparsity_end=0.5", "only for mask.schedule=linear or"),
    ({"mask.schedule": "linear"}, "mask.schedule='linear'", "only where a mask freezes something"),
    ({"mask.recalibrate": 5}, "mask.recalibrate=5", "only where a mask freezes something"),
    ({"mask.schedule": "cosine", "mask.threshold": 1e-6}, "mask.schedule='cosine'",
     "not with mask.threshold"),
    ({"mask.sparsity": 0.5, "mask.recalibrate": 5, "mask.source": "union"}, "mask.recalibrate=5",
     "only for mask.source=server or scores"),
    ({"mask.sparsity": 0.5, "mask.size_power": 1.0}, "mask.size_power=1.0",
     "only for mask.scope=per_client"),
    ({"mask.sparsity": 0.5, "mask.recalibrate": 5, "head.method": "ridge",
      "local.blend": "fisher"}, "local.blend='fisher'", "not where masks change"),
    ({"mask.sparsity": 0.5, "mask.recalibrate": 5, "head.method": "ridge",
      "local.keep_momentum": True, "federation.clients": 1}, "local.keep_momentum=True",
     "not where masks change"),
    ({"compute.micro_batch": 8, "compute.execution": "stacked"}, "compute.micro_batch=8",
     "needs compute.execution=auto or sequential"),
    ({"mask.sparsity": 0.5, "local.optimiser": "lars"}, "local.optimiser='lars'",
     "scales steps by the norms of whole tensors"),
    ({"mask.threshold": 1e-6, "local.optimiser": "lamb"}, "local.optimiser='lamb'",
     "needs mask.sparsity=0"),
    ({"mask.sparsity": 0.5, "mask.rule": "most_salient"}, "mask.rule='most_salient'",
     "a head of zeros"),
    ({"select.gamma": 0.5}, "select.gamma=0.5", "only for select.rule=dirichlet"),
    ({"select.rule": "dirichlet", "select.gamma": 0.0}, "select.gamma=0.0", "must be in [0.001"),
    ({"select.candidates": 30}, "select.candidates=30", "only for select.rule=power_of_choice"),
    ({"select.rule": "power_of_choice", "select.candidates": 9}, "select.candidates=9",
     "must be in [10, 100]"),
    ({"select.rule": "power_of_choice", "select.candidates": 101}, "select.candidates=101",
     "must be in [10, 100]"),
    ({"select.rule": "power_of_choice", "federation.participation": 0.5}, "select.candidates=20",
     "must be in [50, 100]"),
    ({"select.examples": 8}, "select.examples=8", "only for select.rule=power_of_choice"),
    ({"select.presence": 0.9}, "select.presence=0.9", "only for select.rule=availability"),
    ({"select.rule": "availability", "select.presence": 0.0}, "select.presence=0.0", "[0.01, 1]"),
    *(({"select.rule": rule, "select.reweight": "unbiased"}, "select.reweight='unbiased'",
       "only for select.rule=uniform or dirichlet")
      for rule in ("cyclic", "power_of_choice", "availability")),
    *(({"select.reweight": "unbiased", "local.rule": rule}, "select.reweight='unbiased'",
       f"local.rule={rule} is a plain mean") for rule in ("scaffold", "dyn")),
    *(({"aggregate.rule": rule, "federation.participation": 0.02}, f"aggregate.rule='{rule}'",
       "needs 3 clients in a round") for rule in ("median", "geometric_median")),
    ({"attack.rule": "sign_flip", "attack.share": 0.004}, "attack.share=0.004",
     "is none of 100 clients: must be 0, or more than 0.005"),
    ({"select.rule": "availability", "aggregate.rule": "median"}, "select.rule='availability'",
     "a round may find one client alone"),
    ({"select.rule": "cyclic", "federation.participation": 0.3, "aggregate.rule": "median"},
     "select.rule='cyclic'", "are not all as large"),
    ({"select.reweight": "unbiased", "aggregate.rule": "median"}, "select.reweight='unbiased'",
     "only for aggregate.rule=mean"),
    ({"select.reweight": "unbiased", "mask.sparsity": 0.5, "mask.scope": "per_client"},
     "select.reweight='unbiased'", "per-client masks need mask.average=all"),
    ({"mask.average": "all"}, "mask.average='all'", "only for mask.scope=per_client"),
    ({"aggregate.trim": 0.2}, "aggregate.trim=0.2", "only for aggregate.rule=trimmed_mean"),
    ({"aggregate.rule": "krum", "aggregate.bound": 2.0}, "aggregate.bound=2.0",
     "only for aggregate.rule=norm_bound"),
    ({"aggregate.byzantine": 2}, "aggregate.byzantine=2",
     "only for aggregate.rule=krum or multi_krum or bulyan"),
    ({"aggregate.rule": "trimmed_mean", "aggregate.trim": 0.5}, "aggregate.trim=0.5",
     "must be in [0, 0.5)"),
    ({"aggregate.rule": "trimmed_mean", "aggregate.trim": 0.09}, "aggregate.trim=0.09",
     "trimmed_mean needs 12 clients in a round: of 100 federation.participation=0.1 takes 10"),
    ({"aggregate.rule": "krum", "aggregate.byzantine": 4}, "aggregate.byzantine=4",
     "krum needs 11 clients in a round"),
    ({"aggregate.rule": "multi_krum", "federation.participation": 0.04}, "aggregate.byzantine=1",
     "multi_krum needs 5 clients in a round"),
    ({"aggregate.rule": "bulyan", "aggregate.byzantine": 2}, "aggregate.byzantine=2",
     "bulyan needs 11 clients in a round"),
    ({"aggregate.rule": "median", "local.rule": "scaffold"}, "aggregate.rule='median'",
     "local.rule=scaffold sums what clients send"),
    ({"aggregate.rule": "norm_bound", "local.rule": "dyn"}, "aggregate.rule='norm_bound'",
     "local.rule=dyn sums what clients send"),
    ({"aggregate.rule": "krum", "mask.sparsity": 0.5, "mask.scope": "per_client"},
     "aggregate.rule='krum'", "needs mask.scope=shared"),
    ({"aggregate.rule": "bulyan", "mask.sparsity": 0.5, "mask.scope": "per_client",
      "mask.average": "all"}, "aggregate.rule='bulyan'", "needs mask.scope=shared"),
    ({"aggregate.rule": "median", "mask.sparsity": 0.5, "mask.scope": "per_client",
      "mask.average": "all"}, "aggregate.rule='median'", "needs mask.average=senders"),
    ({"attack.share": 0.2}, "attack.share=0.2", "only for attack.rule=label_flip or"),
    ({"attack.rule": "label_flip", "attack.scale": 2.0}, "attack.scale=2.0",
     "only for attack.rule=noisy_inputs or sign_flip or gaussian"),
    ({"attack.rule": "sign_flip", "attack.share": 1.5}, "attack.share=1.5", "must be in [0, 1]"),
    ({"attack.rule": "backdoor"}, "attack.rule='backdoor'", "must be none or"),
    ({"head.norm": "layer"}, "head.norm='layer'", "only for head.hidden > 0"),
    ({"head.hidden": 8, "head.method": "ridge"}, "head.hidden=8", "closed form"),
    ({"head.hidden": -1}, "head.hidden=-1", "must be in [0, "),
    ({"head.loss": "one_vs_all", "head.method": "ridge"}, "head.loss='one_vs_all'", "temperature"),
    ({"head.loss": "one_vs_all", "mask.sparsity": 0.5}, "head.loss='one_vs_all'",
     "drawn from a softmax"),
    ({"head.loss": "one_vs_all", "local.blend": "fisher"}, "head.loss='one_vs_all'",
     "drawn from a softmax"),
    ({"head.local.blend": "fisher"}, "head.local.blend='fisher'", "a head starts from"),
    ({"head.local.keep_momentum": True}, "head.local.keep_momentum=True", "a head always"),
]  # fmt: skip


def own_fields(method: Method) -> list[str]:
    """The fields that a method of a table was given beside its name."""
    if method.field not in TABLES:
        return []
    section = f"{method.field.partition('.')[0]}."
    others = (method.field, *method.facts.needs, *CHOICES)
    return [n for n in method.values if n.startswith(section) and n not in others]


def refused(settings: Settings) -> str:
    with pytest.raises(ConfigError) as refusal:
        TrialConfig().override(settings)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "named", "reason"), [*LOCAL, *OTHERS, *TIMING, *PACE, *SECURE, *READERS]
)
def test_refused_with_the_reason(settings: Settings, named: str, reason: str) -> None:
    line = refused(settings)
    assert named in line
    assert reason in line


@pytest.mark.parametrize(("settings", "named", "reason"), LOCAL)
def test_refused_for_a_head_too(settings: Settings, named: str, reason: str) -> None:
    """With the name that the field has there, and so the one that it depends on."""
    line = refused({f"head.{name}": value for name, value in settings.items()})
    assert line.startswith("head.local.")
    assert named in line
    assert reason.replace("local.", "head.local.") in line


@pytest.mark.parametrize("method", [m for m in METHODS if own_fields(m)], ids=str)
def test_a_method_s_own_field_is_refused_without_it(method: Method) -> None:
    """Where nothing reads it, it would change nothing but the digest."""
    for name in own_fields(method):
        line = refused({name: another_value(name, TrialConfig())})
        assert name in line
        assert f"only for {method.field}=" in line


@pytest.mark.parametrize("method", [m for m in METHODS if m.field == "local.rule"], ids=str)
def test_a_head_may_be_learnt_by_every_rule_of_the_clients(method: Method) -> None:
    settings = {f"head.{name}": value for name, value in method.values.items()}
    cfg = TrialConfig().override({"head.method": "fedavg", **settings})
    assert isinstance(cfg.head.local, HeadLocalConfig)
    assert cfg.head.local.rule == method.choice == configured(method).local.rule


def test_robust_aggregates_refuse_every_rule_that_sums_beside_them() -> None:
    """Through such a sum an attacker would move the server however far it likes."""
    summing = set()
    for method in METHODS:
        rule = rule_of(configured(method).local)
        if rule.moves or method.facts.up > 1:
            summing.add(method.choice)
    assert summing == set(SUMMING)
