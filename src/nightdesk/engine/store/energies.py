"""The energy of recorded exchanges, so that yesterday's still have theirs."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from nightdesk.core.sensors.energy import Tally

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Tally)


class KeptEnergy(NamedTuple):
    """What one exchange used, of which parts of the machine, and what those used idle where that was known then."""

    tally: Tally
    parts: tuple[str, ...]
    idle_w: float | None = None

    @property
    def joules(self) -> float:
        """Above idle where that is known, else all."""
        energy = self.tally.energy(self.idle_w)
        return energy.gross_j if energy.energy_j is None else energy.energy_j


def write_energy(database: sqlite3.Connection, exchange_id: int, kept: KeptEnergy) -> None:
    """Write the energy of an exchange; of one that was not recorded nothing is written."""
    database.execute(
        "INSERT OR REPLACE INTO exchange_energy (id, joules, tally, parts, idle_w) "
        "SELECT id, ?, ?, ?, ? FROM exchanges WHERE id = ?",
        (kept.joules, _encode(kept.tally), "\n".join(kept.parts), kept.idle_w, exchange_id),
    )


def read_energy(database: sqlite3.Connection, exchange_id: int) -> KeptEnergy | None:
    """The energy of an exchange, None where none was measured."""
    asked = "SELECT tally, parts, idle_w FROM exchange_energy WHERE id = ?"
    row = database.execute(asked, (exchange_id,)).fetchone()
    return KeptEnergy(_decoder.decode(row[0]), tuple(row[1].split("\n")), row[2]) if row else None


def read_joules(database: sqlite3.Connection) -> dict[int, float]:
    """The joules of all recorded exchanges by their ids, above idle where that is known."""
    return dict(database.execute("SELECT id, joules FROM exchange_energy"))
