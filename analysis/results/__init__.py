"""What a study found, as numbers: nothing here draws or lays out.

`outcome.outcomes` is the centre: for each arm the trial that was chosen, the confirmation runs
that count, and a warning for each run that does not. Beside it stand paired tests, Pareto fronts,
importance of hyper-parameters, and what the models predicted. `labels` writes numbers as a reader
sees them.
"""
