"""Where trials run: Ray Tune on one machine or a cluster, or one after the other in this process;
how many share a GPU. Nothing here decides what is tried.
"""
