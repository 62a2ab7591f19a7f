"""Who takes part: each rule next to what its paper says, the estimators, the counts."""

from __future__ import annotations

from pathlib import Path

from toy import config as toy_config
from toy import machine_of, plain, write_features

from fl_core.base.cache import load_artefact, save_artefact
from fl_core.checkpoint import resume_trial, trial_path
from fl_core.trial import run_trial

# --- how often each was selected ----------------------------------------------------------------


def test_a_checkpoint_from_before_selections_were_counted(tmp_path: Path) -> None:
    """Goes on to the same bits, with the counts that it would have had."""
    machine = machine_of(tmp_path)
    write_features(machine.cache_dir)
    cfg = toy_config(rounds=4, eval_every=2)
    for folder in ("whole", "old"):
        begun = run_trial(cfg, machine, tmp_path / folder)
        next(begun)
        begun.close()
    path = trial_path(tmp_path / "old", cfg)
    tensors, meta = load_artefact(path)
    meta["state"]["participants"] = sorted(client for client, _ in meta["state"].pop("selected"))
    save_artefact(path, tensors, meta)
    (_, state), (_, old) = (
        resume_trial(trial_path(tmp_path / folder, cfg), "cpu") for folder in ("whole", "old")
    )
    assert state is not None
    assert old is not None
    assert old.selected == state.selected
    assert sum(old.selected.values()) == 2 * cfg.federation.sampled
    one, other = (list(run_trial(cfg, machine, tmp_path / name)) for name in ("whole", "old"))
    assert plain(one) == plain(other)
