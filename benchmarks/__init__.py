"""How fast and how steady credbroker is, beside its peers and a floor, in one run: ``python -m benchmarks``."""
