"""What a study found, as the blocks of a table in Markdown, CSV, LaTeX and HTML."""
