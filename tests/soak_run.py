"""One soak: an owner under mixed load, a client, and guests that come, go and are killed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from .modules import Module
from .processes import PATIENCE, Child

#: A guest comes with every fourth sample and leaves, or is killed, two samples later.
VISIT, LEAVE = 4, 2
SAMPLES = "samples.jsonl"


@dataclass(frozen=True)
class Soaked:
    """What a soak has measured: a sample is what soak_meter prints."""

    owner: list[dict[str, Any]]
    client: list[dict[str, Any]]
    end: dict[str, Any]
    client_end: dict[str, Any]

    def complaints(self) -> list[str]:
        """Say what was lost, doubled or left behind."""
        told, handled = self.end["told"], self.end["handled"]
        for name, count in self.client_end["told"].items():
            told[name] = told.get(name, 0) + count
        found = [f"{name}: told {count}, handled {handled.get(name, 0)}"
                 for name, count in told.items() if handled.get(name, 0) != count]  # fmt: skip
        for who, end in (("owner", self.end), ("client", self.client_end)):
            found += [f"{who}: {error}" for error in end["errors"]]
        if self.end["orders"] != told["order"]:
            found.append(f"{told['order']} orders, of which {self.end['orders']} are in the store")
        if self.end["check"] != "ok":
            found.append(f"integrity_check: {self.end['check']}")
        if not self.end["settled"]:
            found.append("something still waits at the end")
        return found


def soak(folder: Path, seconds: float, every: float) -> Soaked:
    """Run for so many seconds with a sample every so many; samples.jsonl has them as they come."""
    samples: dict[str, list[dict[str, Any]]] = {"owner": [], "client": []}
    owner, guest = Module("tests.soak_owner", folder, every), None
    patience = PATIENCE + 2 * every
    with owner, (folder / SAMPLES).open("w") as file:
        owner.wait_for("up")
        with Module("tests.soak_client", folder, every) as client:
            client.wait_for("up")
            try:
                for n in range(max(1, round(seconds / every))):
                    guest = _visit(guest, n, folder)
                    for who, child in (("owner", owner), ("client", client)):
                        line = child.wait_for("sample", patience).partition(" ")[2]
                        samples[who].append(json.loads(line))
                        _keep(file, who, line)
            finally:
                if guest is not None:
                    guest.kill()
            ends = {who: _end(child) for who, child in (("client", client), ("owner", owner))}
            for who, end in ends.items():
                _keep(file, f"{who} end", json.dumps(end))
    return Soaked(**samples, end=ends["owner"], client_end=ends["client"])


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read a samples.jsonl, also one of a soak that was cut."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text().splitlines():
        for who, sample in json.loads(line).items():
            found.setdefault(who, []).append(sample)
    return found


def _visit(guest: Module | None, n: int, folder: Path) -> Module | None:
    if n % VISIT == 0:
        guest = Module("tests.soak_client", folder, 0, "guest")
        guest.wait_for("up")
    elif n % VISIT == LEAVE and guest is not None:
        if n % (2 * VISIT) == LEAVE:
            guest.say("end")
            assert guest.end() == 0, guest.lines
        guest.kill()
        guest = None
    return guest


def _end(child: Child) -> dict[str, Any]:
    child.say("end")
    end: dict[str, Any] = json.loads(child.wait_for("end", 120).partition(" ")[2])
    assert child.end() == 0, child.lines
    return end


def _keep(file: TextIO, who: str, line: str) -> None:
    file.write(f'{{"{who}": {line}}}\n')
    file.flush()
