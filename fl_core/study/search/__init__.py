"""What is tried next, what stops early, what is confirmed: Optuna and a journal on disk. Nothing
here knows a process.
"""
