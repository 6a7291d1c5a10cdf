"""Who we are towards a cloud: the base identity that the configuration names, and the calls that it signs."""
