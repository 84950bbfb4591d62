"""What an attempt is given with its order: to its supervisor through a pipe, or sealed, since none of it may rest on a
disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from workers.staging.plan import Access, FilesPlan


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HandedOver:
    """Secrets, and the keys to the store of the job's files. The plan of the files goes to disk, beside the order."""

    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values by the variables that the command finds them in."""
    access: Access | None = None
    plan: FilesPlan | None = None

    def sent(self) -> bytes | None:
        """What goes through the pipe; None where there is nothing to say."""
        if not self.secrets and self.access is None:
            return None
        access = None if self.access is None else asdict(self.access)
        return json.dumps({"secrets": dict(self.secrets), "access": access}).encode()


NOTHING = HandedOver()
