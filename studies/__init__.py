"""One question a file: `python studies/NAME.py`, or `fl-study run NAME` where it is installed."""
