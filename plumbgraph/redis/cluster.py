"""Which node of a cluster a command goes to, and what to do when the cluster says elsewhere.

Written without a client, so that both colours share it: `routed` yields what to send to which
node and is sent the replies.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from redis import exceptions
from redis.crc import key_slot

from plumbgraph.errors import StoreUnavailable

Address: TypeAlias = tuple[str, int]
Words: TypeAlias = tuple[Any, ...]

_ATTEMPTS = 12
_PAUSE_S = 0.05
_ELSEWHERE = (exceptions.MovedError, exceptions.TryAgainError, exceptions.ClusterDownError)
_AT_SECOND = frozenset({"FCALL", "FCALL_RO", "EVAL", "EVALSHA"})


@dataclass(frozen=True, slots=True)
class Round:
    """What to send to each node at once, after a pause."""

    sends: dict[Address, list[Words]]
    pause_s: float = 0.0


Answers: TypeAlias = dict[Address, Any]
"""Each node's replies, or the exception it failed with."""
Routing: TypeAlias = Generator[Round, Answers, list[Any]]


@dataclass(slots=True)
class Topology:
    """The slots and primaries of a cluster, as last told.

    Attributes:
        seeds: Nodes to ask; the one of the URL and all that were seen since.
        stale: Something does not fit any more: ask again before the next use.
    """

    seeds: list[Address]
    slots: list[tuple[int, int, Address]] = field(default_factory=list)
    stale: bool = True

    def of_slot(self, slot: int) -> Address:
        """The primary of a slot.

        Raises:
            StoreUnavailable: No node serves it.
        """
        for first, last, address in self.slots:
            if first <= slot <= last:
                return address
        raise StoreUnavailable(f"No node of the cluster serves the slot {slot}.")

    @property
    def primaries(self) -> list[Address]:
        """Every primary that serves a slot."""
        return list(dict.fromkeys(address for _, _, address in self.slots))

    def learn(self, asked: Address, told: Sequence[Any]) -> None:
        """Take in an answer of `CLUSTER SLOTS`."""
        slots = []
        for first, last, *nodes in told:
            places = [(_text(host) or asked[0], int(port)) for host, port, *_ in nodes]
            slots.append((int(first), int(last), places[0]))
            self.seeds += [place for place in places if place not in self.seeds]
        self.slots, self.stale = slots, False


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word or "")


def routed(topology: Topology, batch: Sequence[Any]) -> Routing:
    """Send each command to the node of its key, following moves and migrations.

    A command that was answered with a redirection did not run, so it is sent again; with it the
    `WAIT` behind it, which counts only the writes of its own connection.

    Raises:
        StoreUnavailable: A node does not answer, or the cluster does not settle.
    """
    replies: list[Any] = [None] * len(batch)
    open_: dict[int, Address | None] = dict.fromkeys(range(len(batch)))
    for attempt in range(_ATTEMPTS):
        if topology.stale:
            yield from _refreshed(topology)
        round_, places = _round(topology, batch, open_, pause=attempt > 1)
        answers = yield round_
        following: dict[int, Address | None] = {}
        failure: Exception | None = None
        for address, asked in places.items():
            answer = answers[address]
            if isinstance(answer, Exception):
                topology.stale, failure = True, answer
                continue
            for i, reply in zip(asked, answer, strict=True):
                _settle(topology, batch, i, reply, replies, following)
        if failure is not None:
            raise failure
        if not following:
            return replies
        open_ = following
    raise StoreUnavailable("The cluster keeps redirecting: its slots do not settle.")


def _settle(
    topology: Topology,
    batch: Sequence[Any],
    i: int,
    reply: Any,
    replies: list[Any],
    following: dict[int, Address | None],
) -> None:
    if i in following:
        return
    replies[i] = _kept(batch[i], replies[i], reply)
    if isinstance(reply, exceptions.AskError):
        following[i] = (reply.host, int(reply.port))
    elif isinstance(reply, _ELSEWHERE):
        topology.stale, following[i] = True, None
    else:
        return
    behind = i + 1
    if behind < len(batch) and batch[behind].words[0] == "WAIT":
        following[behind] = following[i]


def _kept(command: Any, before: Any, reply: Any) -> Any:
    """Of a command sent everywhere, the first refusal counts."""
    return before if command.everywhere and isinstance(before, Exception) else reply


def _round(
    topology: Topology, batch: Sequence[Any], open_: dict[int, Address | None], *, pause: bool
) -> tuple[Round, dict[Address, list[int]]]:
    sends: dict[Address, list[Words]] = {}
    places: dict[Address, list[int]] = {}
    for i in sorted(open_):
        command, asking = batch[i], open_[i]
        for address in [asking] if asking else _places(topology, command):
            sends.setdefault(address, [])
            places.setdefault(address, [])
            if asking and command.words[0] != "WAIT":
                sends[address].append(("ASKING",))
            sends[address].append(command.words)
            places[address].append(i)
    return Round(sends, _PAUSE_S if pause else 0.0), places


def _places(topology: Topology, command: Any) -> list[Address]:
    if command.everywhere:
        return topology.primaries
    key = _key(command)
    if key is None:
        return topology.primaries[:1]
    return [topology.of_slot(key_slot(key if isinstance(key, bytes) else str(key).encode()))]


def _key(command: Any) -> Any:
    words = command.words
    if command.near is not None:
        return command.near
    if str(words[0]).upper() in _AT_SECOND:
        return words[3] if int(words[2]) else None
    return words[1] if len(words) > 1 else None


def _refreshed(topology: Topology) -> Generator[Round, Answers, None]:
    for seed in list(topology.seeds):
        answer = (yield Round({seed: [("CLUSTER", "SLOTS")]}))[seed]
        if isinstance(answer, Exception) or isinstance(answer[0], Exception) or not answer[0]:
            continue
        topology.learn(seed, answer[0])
        topology.seeds.sort(key=lambda place: place not in topology.primaries)
        return
    raise StoreUnavailable("No node of the cluster tells its slots.")
