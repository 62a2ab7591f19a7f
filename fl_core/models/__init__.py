"""Pre-trained backbones, linear and ridge heads, and the features of a frozen backbone: computed
once, and shipped for the default task (`embedded/`).
"""
