"""One question, from its file to its tables: arms, presets, options, the command. Below it lie
`search` (what is tried next), `workers` (where trials run) and `tracking` (what is kept).
"""
