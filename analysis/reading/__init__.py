"""Gets everything from outside: MLflow's runs as tidy frames, artifacts, images on disk.

`store.read_study` is the door: it gives one study as a frame of arms and a frame of trials, in a
handful of calls however many runs there are, and drops test metrics of search runs, so that
nothing behind the door can see them. `fetch` gets the curves and files of the few runs that a
figure needs.
"""
