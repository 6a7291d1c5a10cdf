"""Pure translation between credential values and what stands on the wire; no I/O, no clock."""
