"""The queue of pictures: bounded, and shared fairly between callers.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) in two levels. Every address has the same share of the work, and
within an address every connection. A picture begins where the one before it on its connection ended, counted in work;
the earliest beginning is next. Requests that are turned away count too, so that it does not help to ask more often.
"""

import heapq
import ipaddress
from functools import lru_cache
from itertools import count
from typing import Generic, NamedTuple, Protocol, TypeVar

from starlette.types import Scope

#: Whoever asks: the address and the port of a connection.
Caller = tuple[str, int]
NOBODY: Caller = ("", 0)
#: A connection that asks without end is at most so much work behind the others.
MOST_DEBT = 256.0
#: How full the queue may be, in shares of its bound, for addresses that have less than others in it; and how much of
#: that one address may have, for connections that asked for less than its others.
FOR_OTHERS, FOR_ONE = 2.0, 1.25
#: Connections and addresses that are remembered; those that are owed nothing are forgotten first.
MOST_REMEMBERED = 4096
IPV6_PREFIX = 64  # bits that one customer has to himself


class Job(Protocol):
    """What waits."""

    caller: Caller
    weight: int


J = TypeVar("J", bound=Job)


class _Waiting(NamedTuple, Generic[J]):
    """A job with where it begins in the work of its address; `number` puts equal ones in the order of arrival."""

    begins: float
    number: int
    job: J


class _Address(Generic[J]):
    """What one address has waiting, and what its connections asked for lately."""

    def __init__(self) -> None:
        self.jobs: list[_Waiting[J]] = []  # a heap
        self.now = self.turn = 0.0
        self.ends: dict[int, float] = {}
        self.weights: dict[int, int] = {}

    def begins(self, port: int) -> float:
        """Return where the next job of a connection begins."""
        return max(self.now, self.ends.get(port, 0.0))

    def charge(self, port: int, weight: int) -> None:
        """Count work that a connection asked for."""
        if len(self.ends) > MOST_REMEMBERED:
            self.ends = {one: end for one, end in self.ends.items() if end > self.now}
            self.weights = {one: self.weights[one] for one in self.ends}
        self.ends[port] = min(self.begins(port) + weight, self.now + MOST_DEBT)
        self.weights[port] = weight


class FairQueue(Generic[J]):
    """Jobs that wait, `most` of them and a few for those who ask for little. Not safe for threads."""

    def __init__(self, most: int):
        self.most, self.size, self.now = most, 0, 0.0
        self.numbers = count()
        self.known: dict[str, _Address[J]] = {}
        self.waiting: dict[str, _Address[J]] = {}

    def __len__(self) -> int:
        return self.size

    def admits(self, caller: Caller) -> bool:
        """Return whether a caller may put a job in; if not, that counts as having asked for one."""
        if self.size < self.most:
            return True
        own = self._own(caller)
        if self.size < FOR_OTHERS * self.most:
            if 2 * len(own.jobs) <= max(len(other.jobs) for other in self.waiting.values()):
                return True
            if len(own.jobs) < FOR_ONE * self.most and own.begins(caller[1]) <= own.now:
                return True
        own.charge(caller[1], own.weights.get(caller[1], 1))
        return False

    def put(self, job: J) -> None:
        """Put a job in, even if there is no room: a request that was admitted may have several."""
        own = self._own(job.caller)
        if not own.jobs:
            own.turn = max(own.turn, self.now)
            self.waiting[address(job.caller[0])] = own
        heapq.heappush(own.jobs, _Waiting(own.begins(job.caller[1]), next(self.numbers), job))
        own.charge(job.caller[1], job.weight)
        self.size += 1

    def first(self) -> J:
        """Return the job that is next."""
        return self._next().jobs[0].job

    def pop(self) -> J:
        """Take out the job that is next."""
        own = self._next()
        begins, _, job = heapq.heappop(own.jobs)
        own.now = max(own.now, begins)
        self.now = max(self.now, own.turn)
        own.turn += job.weight
        if not own.jobs:
            del self.waiting[address(job.caller[0])]
        self.size -= 1
        return job

    def _next(self) -> _Address[J]:
        return min(self.waiting.values(), key=lambda own: own.turn)

    def _own(self, caller: Caller) -> _Address[J]:
        name = address(caller[0])
        own = self.known.get(name)
        if own is None:
            if len(self.known) > MOST_REMEMBERED:
                self.known = {one: old for one, old in self.known.items() if old.jobs or old.turn > self.now}
            own = self.known[name] = _Address()
        return own


def caller_of(scope: Scope) -> Caller:
    """Return who sent a request; NOBODY for a socket that has no addresses."""
    host, port = scope.get("client") or NOBODY
    return host, port


@lru_cache(maxsize=MOST_REMEMBERED)
def address(host: str) -> str:
    """Return whom an address stands for: itself, or its network of IPv6."""
    if ":" not in host:
        return host
    try:
        whole = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(whole.ipv4_mapped or ipaddress.IPv6Network((whole, IPV6_PREFIX), strict=False))
