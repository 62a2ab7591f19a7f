"""Selection rules, confirmations, intervals and tests: what a study found."""
