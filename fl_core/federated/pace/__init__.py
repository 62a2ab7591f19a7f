"""How much a client does in a round, where that follows the training: its steps, its batch."""
