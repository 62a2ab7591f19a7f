"""What everything stands on: random streams, flat parameter vectors, artefacts on disk, places."""
