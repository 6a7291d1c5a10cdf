"""The sidecar: the broker's values over loopback, in the protocols that unmodified clients already speak."""
