"""Personalisation: one file a method, found by name in `table`; `rule` says what one is."""
