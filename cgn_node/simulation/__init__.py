"""The Work Broker in a false world: virtual time, seeded faults, and an auditor that keeps its own books."""
