"""The data set itself, before any training: is it balanced, where do its classes lie?

`summary.explore` measures everything once (spread of the classes, nearest pairs, outliers, equal
images), on features of a frozen backbone; `figures` draws the numbers, `pictures` the images.
"""
