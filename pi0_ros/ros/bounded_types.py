"""Bounds on messages and requests that the network layer itself keeps: what is larger is dropped with its first fragment.

Fast DDS gathers a message of any size before anybody can refuse it, and keeps the memory for the next one; what a sender
that died in the middle of a large one has left with a best-effort reader it never gives back (StatelessReader of Fast DDS
2.14 to 3.6: `fragmented_change` of a writer that is gone is not released). It knows a bound for types without unbounded
texts and sequences alone. Here other types are told to be bounded too, in the description that ROS's type support gives to
`rmw_fastrtps` (message_type_support.h), for all of this process: its own messages must not be larger either.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import rclpy
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import (
    DescribeParameters,
    GetLoggerLevels,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetLoggerLevels,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.type_support import check_for_type_support
from sensor_msgs.msg import CompressedImage, Image
from type_description_interfaces.srv import GetTypeDescription

from pi0_ros.ros.bounded import KIB, MAX_BYTES

FAST_DDS, TYPE_SUPPORT = "rmw_fastrtps_cpp", b"rosidl_typesupport_fastrtps_c"
NAMED = 64 * KIB
"""What a message of any type may have, to be refused by name if it is too large; also a request to a service."""
REQUESTS = (
    ChangeState,
    DescribeParameters,
    GetLoggerLevels,
    GetParameters,
    GetParameterTypes,
    GetTypeDescription,
    ListParameters,
    SetLoggerLevels,
    SetParameters,
    SetParametersAtomically,
)
"""Services of every node whose requests have texts or sequences."""
PICTURES = (Image, CompressedImage)
"""They may be so large that memory for them is taken only when they come."""
ENCAPSULATION = 4  # [bytes] before a serialized message
BOUNDED = b"\x01"  # ROSIDL_TYPESUPPORT_FASTRTPS_BOUNDED_TYPE


class _Handle(ctypes.Structure):
    """`rosidl_message_type_support_t` and `rosidl_service_type_support_t`, as far as they are alike: whose type support it is,
    and the address of its description (`_Message` or `_Service`)."""

    _fields_ = [("identifier", ctypes.c_char_p), ("data", ctypes.c_void_p)]


_MaxSize = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.POINTER(ctypes.c_char))
"""The largest serialized size [bytes] of a type, without the encapsulation; into the character goes whether there is one."""


class _Message(ctypes.Structure):
    """`message_type_support_callbacks_t` (rosidl_typesupport_fastrtps_cpp): a message type's C++ namespace and name, the
    functions that write, read and measure a message, and `max_size`, which is the one that is replaced here.

    Later versions may have more behind it, which is neither read nor written.
    """

    _fields_ = [
        ("namespace", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("serialize", ctypes.c_void_p),
        ("deserialize", ctypes.c_void_p),
        ("size", ctypes.c_void_p),
        ("max_size", _MaxSize),
    ]


class _Service(ctypes.Structure):
    """`service_type_support_callbacks_t` (rosidl_typesupport_fastrtps_cpp): a service's C++ namespace and name, and the type
    supports of its request and response."""

    _fields_ = [
        ("namespace", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("request", ctypes.POINTER(_Handle)),
        ("response", ctypes.POINTER(_Handle)),
    ]


class _Type(NamedTuple):
    """A type as `rmw_fastrtps` knows it: its C++ namespace and name, and its description."""

    namespace: str
    name: str
    description: _Message


_kept: dict[int, object] = {}
"""The functions that descriptions point to, by the address of the description; they live as long as the process."""


def bound_types() -> tuple[str, ...]:
    """Bound the messages that are read and the requests; before `rclpy.init`. Names of types that could not be bounded."""
    if rclpy.get_rmw_implementation_identifier() != FAST_DDS:
        return ()
    wanted = list(_wanted(MAX_BYTES))
    writable = tuple(_writable())  # read when the libraries of all of them are loaded
    return tuple(name for name, of, largest in wanted if of is None or not _bound(of, largest, writable))


def _wanted(largest: Mapping[type, int]) -> Iterator[tuple[str, _Type | None, int]]:
    for kind, size in largest.items():
        if kind not in PICTURES:
            yield kind.__name__, message_type(kind), max(size, NAMED)
    for service in REQUESTS:
        yield service.__name__, request_type(service), NAMED


def message_type(kind: type) -> _Type | None:
    """The bounds of a message class for Fast DDS; None if it is not what the header says."""
    handle = _handle(kind, "message")
    return _described(handle, *_called(kind)) if handle else None


def request_type(service: type) -> _Type | None:
    """The same of a service's request."""
    handle = _handle(service, "service")
    if not handle:
        return None
    of, (namespace, name) = ctypes.cast(handle.contents.data, ctypes.POINTER(_Service)).contents, _called(service)
    if (of.namespace, of.name) != (namespace, name):
        return None
    return _described(of.request, namespace, name + b"_Request")


def _called(kind: type) -> tuple[bytes, bytes]:
    package, folder = kind.__module__.split(".")[:2]
    return f"{package}::{folder}".encode(), kind.__name__.encode()


def _handle(kind: type, what: str) -> ctypes._Pointer[_Handle] | None:
    check_for_type_support(kind)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    capsule = kind.__class__._TYPE_SUPPORT  # type: ignore[attr-defined]
    given = pointer(capsule, name(capsule))
    resolve = getattr(ctypes.CDLL("librosidl_runtime_c.so"), f"get_{what}_typesupport_handle")
    resolve.restype, resolve.argtypes = ctypes.POINTER(_Handle), [ctypes.c_void_p, ctypes.c_char_p]
    found: ctypes._Pointer[_Handle] = resolve(given, TYPE_SUPPORT)
    return found if found and found.contents.identifier == TYPE_SUPPORT else None


def _described(handle: ctypes._Pointer[_Handle], namespace: bytes, name: bytes) -> _Type | None:
    of = ctypes.cast(handle.contents.data, ctypes.POINTER(_Message)).contents
    return _Type(namespace.decode(), name.decode(), of) if (of.namespace, of.name) == (namespace, name) else None


def _bound(of: _Type, largest: int, writable: tuple[range, ...]) -> bool:
    at = ctypes.addressof(of.description)
    if not any(at in part for part in writable):
        return False

    def max_size(kind: ctypes._Pointer[ctypes.c_char]) -> int:
        kind[0] = BOUNDED
        return largest - ENCAPSULATION

    of.description.max_size = _kept[at] = _MaxSize(max_size)
    return True


def _writable() -> Iterator[range]:
    """Addresses that this process may write to."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, rights = line.split()[:2]
        if rights.startswith("rw"):
            first, last = (int(address, 16) for address in addresses.split("-"))
            yield range(first, last)
