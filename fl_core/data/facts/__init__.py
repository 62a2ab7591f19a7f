"""What is known of published data sets; standard library only, see `catalogue`."""
