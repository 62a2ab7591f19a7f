"""From the MLflow store to a paper's tables and figures; never imports torch, ray or timm.

Four commands stand here: `final_tables`, `figures`, `report` (one page about all studies) and
`explore_data` (the data set itself). They put together what the rooms do, each of which uses only
those before it:

    reading <- results <- {tables, plots} <- {page, dataset}

Of `fl_core` the analysis reads only what needs nothing but the standard library: the vocabulary,
the metrics, the rules that choose a winner, errors and whole files (`tests/test_layers.py` holds it
to that).
"""
