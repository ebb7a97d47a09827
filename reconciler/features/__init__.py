"""What spans networks and drivers: one file a feature, found by its ``FEATURE``. Pure, like the drivers."""
