"""The windows of a kernel: what it shares with one other instance each, and its own door.

A *link* is memory that two incarnations share: no third one ever has it, so that what a process
stores that has been stopped, and declared dead, and goes on, is read by nobody. A *door* is a page
that an incarnation publishes under its instance id; whoever opens a link to it leaves a byte there.
Where both are kept is a :class:`LinkStore`.

A window is mapped, or mapped anew because a new incarnation is at the other end, when the spawn
epoch of its link is loaded, and at no other moment. The epoch is 0 where nothing can be shared.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol

from mkrpc.instance.multikernel.channels.link_rings import EPOCH_OFFSET, link_bytes, unread
from mkrpc.limits import MAX_INSTANCE_ID

__all__ = [
    "DOOR_BYTES",
    "DOORS",
    "LEFT_OFFSET",
    "LISTENS_OFFSET",
    "LIVES_OFFSET",
    "MAX_WINDOWS",
    "WINDOW_BYTES",
    "Door",
    "LinkStore",
    "LinkWindows",
    "MemoryLinks",
    "link_image",
]

WINDOW_BYTES = 1 << 20
"""From one window to the next."""

DOORS = MAX_INSTANCE_ID + 1
"""The window of one's own door: at 0 how many have opened a link, from 8 on a bit for each id."""

LIVES_OFFSET = WINDOW_BYTES - 8
"""Within a window: 1 if the instance at the other end lives, else 0."""

LEFT_OFFSET = WINDOW_BYTES - 16
"""Within a window: own messages that the incarnation before had not read; 0 when loaded again."""

LISTENS_OFFSET = WINDOW_BYTES - 24
"""Within a window: 1 if the instance at the other end takes messages, else 0. In the window of
one's own door: stored, once one takes them."""

DOOR_BYTES = 4096
"""A page: u64 1 once there is a newer one, 16 bytes of incarnation, u64 1 once messages are taken,
and from 1024 on a byte for each instance that has opened a link."""

MAX_WINDOWS = 128
"""Links of one instance that are mapped at a time; with others it shares nothing until one of these
has ended."""

_RETIRED, _INCARNATION, _LISTENS, _OPENED = 0, 8, 24, 1024


class Door:
    """A page, and what it says. ``keep``: what has to live as long as the page is mapped."""

    __slots__ = ("_keep", "_page")

    def __init__(self, page: memoryview, keep: object = None) -> None:
        self._page = page
        self._keep = keep

    @staticmethod
    def image(incarnation: bytes) -> bytes:
        """The page as it is published."""
        page = bytearray(DOOR_BYTES)
        page[_INCARNATION : _INCARNATION + len(incarnation)] = incarnation
        return bytes(page)

    @property
    def retired(self) -> bool:
        """There is a newer one of this instance."""
        return bool(self._page[_RETIRED])

    def retire(self) -> None:
        """There is one now."""
        self._page[_RETIRED] = 1

    @property
    def incarnation(self) -> bytes:
        """Whose door it is."""
        return bytes(self._page[_INCARNATION : _INCARNATION + 16])

    @property
    def listens(self) -> bool:
        """It takes messages."""
        return bool(self._page[_LISTENS])

    def listen(self) -> None:
        """It does from now on."""
        self._page[_LISTENS] = 1

    def opened(self, by: int) -> None:
        """This instance has opened a link to it."""
        self._page[_OPENED + by] = 1

    def who_opened(self) -> bytes:
        """A byte for each instance id, 1 for those that have."""
        return bytes(self._page[_OPENED : _OPENED + MAX_INSTANCE_ID + 1])


class LinkStore(Protocol):
    """Where doors and links are kept; nobody else but the instances of one host reaches it."""

    def publish(self, own: int, incarnation: bytes) -> Door | None:
        """The door of a new incarnation; those before it, and their links, are over. None: there is
        no room, or no shared memory at all."""

    def door(self, instance: int) -> Door | None:
        """Of the latest incarnation; None if it has none here."""

    def lives(self, instance: int) -> bool:
        """Whether the incarnation whose door this is has not ended."""

    def link(self, name: str, image: bytes) -> memoryview | None:
        """The memory of this name, ``image`` if it is new; None if there is no room."""


class _Window:
    __slots__ = ("door", "to_parent", "views")

    def __init__(self, door: Door, memory: memoryview, *, to_parent: bool) -> None:
        self.door = door
        self.to_parent = to_parent
        self.views = {
            1: memory.cast("B"),
            2: memory.cast("H"),
            4: memory.cast("I"),
            8: memory.cast("Q"),
        }

    def load(self, offset: int, size: int) -> int:
        view = self.views[size]
        index = offset // size
        return view[index] if index < len(view) else 0


class LinkWindows:
    """Of one kernel; a :class:`mkrpc.instance.memory.Windows`. Empty until :meth:`open`."""

    def __init__(self, own: int, incarnation: bytes, store: LinkStore, *, max_data: int) -> None:
        self._own = own
        self._incarnation = incarnation
        self._store = store
        self._max_data = max_data
        self._door: Door | None = None
        self._windows: dict[int, _Window] = {}
        self._left: dict[int, int] = {}
        self._listens = False

    def open(self) -> None:
        """This incarnation is the one that counts: let the others find it."""
        self._door = self._store.publish(self._own, self._incarnation)
        if self._door is not None and self._listens:
            self._door.listen()

    def load(self, offset: int, size: int) -> int:
        """As :class:`mkrpc.instance.memory.Windows`."""
        if self._door is None:
            return 0
        instance, at = divmod(offset, WINDOW_BYTES)
        if instance == DOORS:
            return self._visitors(at, size)
        if at == EPOCH_OFFSET:
            self._map(instance)
        elif at == LIVES_OFFSET:
            return int(self._store.lives(instance))
        elif at == LEFT_OFFSET:
            return self._left.pop(instance, 0)
        window = self._windows.get(instance)
        if at == LISTENS_OFFSET:
            return int(window is not None and window.door.listens)
        return window.load(at, size) if window is not None else 0

    def store(self, offset: int, value: int, size: int) -> None:
        """As :class:`mkrpc.instance.memory.Windows`."""
        instance, at = divmod(offset, WINDOW_BYTES)
        if (instance, at) == (DOORS, LISTENS_OFFSET):
            self._listens = True
            if self._door is not None:
                self._door.listen()
            return
        window = self._windows.get(instance)
        if window is not None and at // size < len(window.views[size]):
            window.views[size][at // size] = value & ((1 << 8 * size) - 1)

    def _visitors(self, at: int, size: int) -> int:
        assert self._door is not None, "nothing is loaded from a door that is not there"
        opened = self._door.who_opened()
        if at == 0:
            return opened.count(1)
        first = 8 * (at - 8)
        return sum(1 << n for n, each in enumerate(opened[first : first + 8 * size]) if each)

    def _map(self, instance: int) -> None:
        window = self._windows.get(instance)
        if window is not None:
            if not window.door.retired:
                return
            self._left[instance] = self._left.get(instance, 0) + unread(
                window.load, max_data=self._max_data, to_parent=window.to_parent
            )
            del self._windows[instance]
        if not 0 <= instance <= MAX_INSTANCE_ID or instance == self._own:
            return
        if (door := self._store.door(instance)) is None or door.retired:
            return
        if len(self._windows) >= MAX_WINDOWS and not self._make_room(instance):
            return
        ends = sorted([(self._own, self._incarnation), (instance, door.incarnation)])
        name = ".".join(f"{number}-{incarnation.hex()}" for number, incarnation in ends)
        image = link_image(ends[0], ends[1], size=link_bytes(self._max_data))
        memory = self._store.link(name, image)
        if memory is not None:
            self._windows[instance] = _Window(door, memory, to_parent=self._own > instance)
            door.opened(self._own)

    def _make_room(self, instance: int) -> bool:
        """For one that lives: one that does not, and has left nothing to read, loses its window."""
        if not self._store.lives(instance):
            return False
        for other, window in self._windows.items():
            left = unread(window.load, max_data=self._max_data, to_parent=not window.to_parent)
            if not left and not self._store.lives(other):
                del self._windows[other]
                return True
        return False


def link_image(parent: tuple[int, bytes], child: tuple[int, bytes], *, size: int) -> bytes:
    """A link as it begins: the ids of its ends, an epoch that no other has, and empty rings."""
    drawn = blake2b(parent[1] + child[1], digest_size=8).digest()
    epoch = int.from_bytes(drawn, "little") >> 1 | 1
    header = (child[0] << 32 | parent[0]).to_bytes(8, "little") + epoch.to_bytes(8, "little")
    return header + bytes(size - len(header))


class MemoryLinks:
    """A :class:`LinkStore` within one process, for a machine in one thread.

    ``lives``: asked of an instance.
    """

    def __init__(self, is_alive: Callable[[int], bool] = lambda _instance: True) -> None:
        self._doors: dict[int, Door] = {}
        self._links: dict[str, memoryview] = {}
        self._is_alive = is_alive

    def publish(self, own: int, incarnation: bytes) -> Door | None:
        """As :class:`LinkStore`."""
        before = self._doors.get(own)
        if before is not None:
            over = f"{own}-{before.incarnation.hex()}"
            self._links = {n: link for n, link in self._links.items() if over not in n.split(".")}
        self._doors[own] = Door(memoryview(bytearray(Door.image(incarnation))))
        if before is not None:
            before.retire()
        return self._doors[own]

    def door(self, instance: int) -> Door | None:
        """As :class:`LinkStore`."""
        return self._doors.get(instance)

    def lives(self, instance: int) -> bool:
        """As :class:`LinkStore`."""
        return self._is_alive(instance)

    def link(self, name: str, image: bytes) -> memoryview | None:
        """As :class:`LinkStore`."""
        if name not in self._links:
            self._links[name] = memoryview(bytearray(image))
        return self._links[name]
