"""Every run in MLflow, found again by its tags, written from one queue."""
