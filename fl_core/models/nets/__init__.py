"""Networks of our own beside timm's: without the last layer, from random weights."""
