"""What stops a run, beside what its parts raise themselves."""


class SettlementError(Exception):
    """The run cannot go on now; everything decided so far is in the journal, and a further run goes on from there."""
