"""Can a study start here? `python -m fl_core.doctor` looks at software, hardware, data, store
and Ray before anything is computed.
"""
