"""What everything stands on, and what knows nothing of learning: random streams by name, models as
flat vectors, artefacts checked by digest, folders here and elsewhere, errors told in one line.
"""
