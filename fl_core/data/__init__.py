"""Examples on the device, their split, and who holds which of them."""
