"""Who we are towards a cloud: the base identity as the configuration names it, and the calls that it signs. One file a cloud."""
