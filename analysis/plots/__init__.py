"""What a study found, as figures in the widths of a paper's columns.

`study.draw_figures` draws all that a study has data for, each with a caption. `panels` decides
how arms become panels, lines and colours, the same in every figure; `style` holds sizes, colours
that the colour-blind can tell apart, and files that never differ by a byte.
"""
