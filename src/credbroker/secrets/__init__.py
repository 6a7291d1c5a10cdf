"""Secrets by reference: ``reference`` names one, a backend looks in one place, ``resolver`` asks the backends in order."""
