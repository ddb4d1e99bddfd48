"""A bound of the node is reached: what admission raises, and what the endpoints turn into problem documents."""


class TooMany(Exception):
    """`code` is of `protocol.errors`, `detail` says which bound, `retry_after_s` when to come again."""

    def __init__(self, code: str, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
