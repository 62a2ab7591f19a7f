"""Where jobs run: Ray Tune, this process, shares of a GPU, clusters."""
