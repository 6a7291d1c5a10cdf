"""Pure down-scoping: location and access in, the narrowing that an issuer understands out. No I/O, no credential."""
