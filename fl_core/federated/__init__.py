"""Federated averaging and its relatives. `rounds` is algorithm 1 on a page; a method is a file
behind one of its seams:

    selection   who takes part            rules/      how clients' steps differ from SGD
    aggregate   many updates to one       server      from the aggregate to the next model
    schedule    learning rates            evaluate    accuracy and loss

`state` is what goes from round to round (a checkpoint is exactly that), `memory` what clients keep,
`work`, `client` and `stacked` are the local training, `messages` and `ledger` the bytes.
"""
