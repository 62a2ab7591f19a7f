"""The data set itself: class balance, geometry, near and far images."""
