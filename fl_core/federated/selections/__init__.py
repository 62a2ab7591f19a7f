"""Who takes part in a round: one file a rule, `table` names them."""
