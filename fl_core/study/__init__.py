"""One question from its file to its tables: arms, presets, options, the command."""
