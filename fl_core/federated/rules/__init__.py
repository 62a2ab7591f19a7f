"""Local rules: one file each, found by name in `table`; `federated.rule` says what one is."""
