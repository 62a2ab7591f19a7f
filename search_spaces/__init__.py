"""Search spaces: define-by-run functions of an Optuna trial, one module per family of studies."""
