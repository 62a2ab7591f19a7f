"""Pre-trained backbones, linear and ridge heads, the features of a frozen backbone."""
