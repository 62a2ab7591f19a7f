"""Examples on the device, their split, and who holds which of them: tasks, sources, partitions that
use every example once.
"""
