"""SGD with momentum, dense or under a mask."""
