"""Hyper-parameter studies of federated fine-tuning: the compact core (see README.md)."""

__version__ = "0.1.0"
