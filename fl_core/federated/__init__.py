"""FedAvg: rounds, local work, aggregation, evaluation, and what all of it sends."""
