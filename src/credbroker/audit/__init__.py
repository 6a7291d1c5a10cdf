"""The audit: nothing is issued that is not on record first."""
