"""What a study found, as figures in a paper's widths."""
