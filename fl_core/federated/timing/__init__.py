"""Who takes part in a round, and when its update arrives."""
