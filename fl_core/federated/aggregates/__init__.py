"""Aggregates: one file each, found by name in `table`.

An aggregate is a function of the round's updates, which come one by one, of the parameters that
the round began with and of the configuration; what it gives is what the server then steps towards.
"""
