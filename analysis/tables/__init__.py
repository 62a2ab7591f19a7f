"""What a study found, as tables: blocks of text cells, printed as Markdown, LaTeX and HTML.

`final.blocks` is the whole of it: the final table with its conditions and warnings, then the
tests between arms, the finalists, the overlap of masks, the Pareto fronts and, apart from ours,
the published numbers. A module makes one kind of block; `render` prints any of them.
"""
