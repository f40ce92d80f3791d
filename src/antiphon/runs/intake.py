"""What one process holds of requests at once: so many bytes of bodies and of what they continue, and no more.

Bodies are counted as they come, until their answers have ended: what is made of them while they are worked on is in
proportion. So are the stored contexts that they continue, media fetched for them, and answers that their clients do not
read. Bodies of background responses count again while they are carried out. Must never wait: who finds no room is told
so at once, and may try another process.
"""

from __future__ import annotations

from antiphon.protocol.errors import Overloaded


class Intake:
    """The bytes that are held now, and how many may be."""

    def __init__(self, most_bytes: int) -> None:
        self.held_bytes = 0
        self._most_bytes = most_bytes

    def refusal(self, size_bytes: int) -> Overloaded | None:
        """Why a body of this size has no room now; None if it has."""
        if self.held_bytes + size_bytes <= self._most_bytes:
            return None
        return Overloaded(
            f"The server holds {self.held_bytes:,} bytes of other requests, of {self._most_bytes:,} that it may. "
            "Please try again."
        )

    def spare(self, size_bytes: int) -> int:
        """How many more bodies, of at most this size each, may be taken on now by what can wait.

        It leaves half of the room to what cannot. One may be larger than what is left to it.
        """
        left_bytes = self._most_bytes // 2 - self.held_bytes
        return max(1, left_bytes // size_bytes) if left_bytes > 0 else 0

    def take(self, size_bytes: int) -> None:
        """Hold so many bytes more, until they are given back. Raises Overloaded."""
        refusal = self.refusal(size_bytes)
        if refusal is not None:
            raise refusal
        self.hold(size_bytes)

    def hold(self, size_bytes: int) -> None:
        """Hold so many bytes more, room or not, until they are given back."""
        self.held_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Hold so many bytes less."""
        self.held_bytes -= size_bytes
