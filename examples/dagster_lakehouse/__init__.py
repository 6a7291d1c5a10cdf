"""A small lakehouse on Dagster whose assets hold no secret. README.md says how it is started."""
