"""What can go wrong with a file, in one sentence that names it."""

from __future__ import annotations


class StagingFailed(Exception):
    """A file could not be brought in or taken out. `may_pass`: at another time, or from another machine, it might."""

    def __init__(self, url: str, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(f"{url}: {reason}")
        self.may_pass = may_pass
