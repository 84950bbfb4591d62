"""What a simulated provider makes of a run, and how long that takes on our clock.

Its time is virtual: a run of three hours is reported and billed as three hours, and `time_scale` says how
many real seconds one virtual second is waited for. "Command seconds" below count from the command's start,
loading included; "work seconds" leave the loading out, as forecasts of runtime do.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.supervision.stopped import Stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Drawn before the start (see `workers.backends.draw`). Times are virtual seconds."""

    startup_s: float
    """From the command's start to its first useful work."""
    runtime_s: float
    """The work itself, given all the memory it needs."""
    peak_vram_gib: float | None
    """Need on the fullest GPU; None where memory was not forecast."""
    usable_vram_gib: float | None
    out_of_memory_s: float | None
    """Command seconds after which memory runs out; None where it suffices."""
    taken_s: float | None = None
    """Command seconds after which the provider takes the machine away; None: not while this could still run."""
    taken_silently: bool = False
    """It does so without a word: nobody is asked to save anything."""
    time_scale: float
    """Real seconds waited per virtual second; 0 waits for nothing but the command."""

    @property
    def out_of_memory_words(self) -> str:
        """What is said when memory runs out."""
        return f"simulated: CUDA out of memory on a card with {self.usable_vram_gib} GiB"

    @property
    def command_s(self) -> float:
        """Command seconds of the whole run."""
        return self.startup_s + self.runtime_s

    def verdict(self, max_runtime_s: float | None) -> tuple[float, Stopped | None]:
        """Command seconds after which the run is over, and why; None: it has completed."""
        ends: list[tuple[float, Stopped | None]] = [(self.command_s, None)]
        if self.out_of_memory_s is not None:
            ends.append((self.out_of_memory_s, Stopped.OUT_OF_MEMORY))
        if max_runtime_s is not None and max_runtime_s < self.command_s:
            ends.append((max_runtime_s, Stopped.TIMEOUT))
        if self.taken_s is not None:
            ends.append((self.taken_s, Stopped.HOST))
        return min(ends, key=lambda end: end[0])

    def command_so_far_s(self, elapsed_s: float) -> float:
        """Command seconds after so many real ones. A command that really takes longer than was drawn has no more
        of them: it only stands in for another."""
        return self._virtual(elapsed_s, self.command_s)

    def work_s(self, command_s: float) -> float:
        """The work seconds among command seconds."""
        return max(0.0, command_s - self.startup_s)

    def _virtual(self, real_s: float, whole_s: float) -> float:
        # at scale 0 no real moment says how far the run is: it counts as whole
        return min(whole_s, real_s / self.time_scale) if self.time_scale > 0 else whole_s
