"""Which parameters stay trainable (TaLoS and its relatives): scores -> selection, in rounds of
calibration; and how far the masks of several clients agree.
"""
