"""What is tried next, what stops early, what is confirmed: Optuna, without processes."""
