"""The miner's decisions, pure: metering, slots, when to dial again."""
