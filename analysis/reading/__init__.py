"""MLflow's runs as tidy frames."""
