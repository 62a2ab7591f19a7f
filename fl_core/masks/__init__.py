"""Which parameters stay trainable: scores, selection, calibration in rounds, overlap."""
