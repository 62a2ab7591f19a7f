"""Every run in MLflow: written from one queue that outlives a store that is away, found again by
its tags.
"""
