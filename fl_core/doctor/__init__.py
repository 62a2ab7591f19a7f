"""Can a study start here? `python -m fl_core.doctor` looks before anything is computed."""
