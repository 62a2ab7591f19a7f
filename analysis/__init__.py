"""From the MLflow store to a paper's tables and figures; never imports torch, ray or fl_core.

`store` reads one study into tidy frames, `selection` names the rules that choose, `tables` and
`figures` lay out, `final_tables` and `figures` are the commands.
"""
