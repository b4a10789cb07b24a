"""Two devices on one topic of teleop: the first is followed, and both are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pi0_ros.control.one_sender import OneSender
from pi0_ros.robot.wording import leave_one, listed
from pi0_ros.ros.publishers import UNKNOWN, GraphNames, Publishers


class TeleopDevices:
    """Who sends on topics that have room for one sender.

    Two are there when messages of both came within a second, or when the graph names two different nodes. A device that was
    restarted has the name of the one that the network has not forgotten yet, which is silent: these are one.
    """

    def __init__(self, graph: GraphNames, topics: Iterable[str]) -> None:
        self._graph = graph
        self._topics = {topic: OneSender() for topic in topics}
        self._senders: dict[str, tuple[bytes, ...]] = {}

    def follows(self, topic: str, sender: bytes, steady: float) -> bool:
        """Note a message on `topic` from the publisher with the id `sender`; whether it is to be followed."""
        return self._topics[topic].hear(steady, sender)

    def sentence(self, steady: float) -> str:
        """Which topics have two senders at `steady` [s], with the names of their nodes and the way out; "" for none."""
        said = []
        for topic, one in self._topics.items():
            senders = one.senders(steady)
            new, self._senders[topic] = len(senders) > 1 and senders != self._senders.get(topic), senders
            names = two_devices(senders, self._graph.publishers(topic, steady, new, least=2))
            if names:
                said.append(two_devices_sentence(topic, names))
        return "; ".join(said)


def two_devices(senders: Sequence[bytes], publishers: Publishers) -> tuple[str, ...]:
    """Names of the nodes that send on one topic, () if it is one: of recent senders, and of different nodes."""
    named = tuple(publishers.get(sender, UNKNOWN) for sender in senders)
    silent = set(publishers.values()) - set(named) - {UNKNOWN}
    names = (*(named if len(named) > 1 or silent else ()), *sorted(silent))
    return names if len(names) > 1 else ()


def two_devices_sentence(topic: str, names: Sequence[str]) -> str:
    """What is wrong with a topic on which these nodes publish, of which several may have one name."""
    count: Counter[str] = Counter()
    said = []
    for name in names:
        said.append(f"another {name}" if count[name] and name != UNKNOWN else name)
        count[name] += 1
    return f"{listed(said)} publish on {topic}, which has room for one teleop device; {leave_one(len(said))}"
