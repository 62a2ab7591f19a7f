"""What a trial may be asked: fields that check themselves, sections of them, the whole frozen
configuration, the vocabulary of names and symbols, the metrics of a record, and the key of what
a stage computes.
"""
