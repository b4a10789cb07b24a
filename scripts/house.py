"""How the house is built, a row a package: `python scripts/house.py [ROOT]`. It reads the source and imports nothing.

Functions are counted in lines of code without their docstring. A class is large above 15 methods or 12 attributes; its docstring
says why then: "Larger than a class should be because …". An attribute is born late where it is first assigned outside `__init__` and its class does not declare it. A circle is a set of modules, or
a folder and one inside it, that import each other; `TYPE_CHECKING` imports count, for a reader has to follow them too.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "pi0_ros"
MOST_METHODS, MOST_ATTRIBUTES = 15, 12
REASON = re.compile(r"Larger than a class should be because ([^.]+)\.")
LAYERS = (
    ("cli", "commands", "bringup", "supervisor", "nodes"),
    ("ros",),
    ("train", "sim", "parity"),
    ("closed_loop",),
    ("data", "policy", "control"),
    ("model", "robot"),
)
"""The layers of pyproject.toml, top first."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Shape:
    """A class: where it is, how many methods it has, its attributes, those of them that are born late, and why it is large."""

    module: str
    name: str
    methods: int
    attributes: frozenset[str]
    late: frozenset[str]
    reason: str = ""

    @property
    def large(self) -> bool:
        """Whether it has more methods or attributes than a class should."""
        return self.methods > MOST_METHODS or len(self.attributes) > MOST_ATTRIBUTES


@dataclass(frozen=True)
class Module:
    """One file: its dotted name, its lines, and what is in it."""

    name: str
    lines: int
    functions: tuple[int, ...]
    classes: tuple[Shape, ...]
    any: int
    imports: frozenset[str]

    @property
    def package(self) -> str:
        """The part of the house it belongs to: `control`, `ros`, ..., or its own name where it stands at the top."""
        return self.name.split(".")[1] if "." in self.name else self.name


def body_lines(function: Function) -> int:
    """Lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def assigned(function: Function) -> Iterator[str]:
    """Names of the attributes of the first argument that a method assigns."""
    if not function.args.args:
        return
    own = function.args.args[0].arg
    for node in ast.walk(function):
        stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if stored and isinstance(node.value, ast.Name) and node.value.id == own:
            yield node.attr


def shape_of(module: str, found: ast.ClassDef) -> Shape:
    """What a class is made of."""
    methods = [n for n in found.body if isinstance(n, Function)]
    born = {name for m in methods if m.name in ("__init__", "__post_init__") for name in assigned(m)}
    declared = {n.target.id for n in found.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    every = {name for m in methods if not is_static(m) for name in assigned(m)}
    properties = {m.name for m in methods if any("setter" in ast.unparse(d) for d in m.decorator_list)}
    attributes = every - properties
    late = attributes - born - declared
    return Shape(module, found.name, len(methods), frozenset(attributes), frozenset(late), reason_of(found))


def reason_of(found: ast.ClassDef) -> str:
    """Why a class is large, as its docstring says it; "" if it does not."""
    reason = REASON.search(" ".join((ast.get_docstring(found) or "").split()))
    return reason.group(1) if reason else ""


def is_static(function: Function) -> bool:
    """Whether a method has no `self`."""
    return any(isinstance(d, ast.Name) and d.id in ("staticmethod", "classmethod") for d in function.decorator_list)


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of everything of the package that a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def read(root: Path) -> list[Module]:
    """Every module below `root`/pi0_ros."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    names = {name_of(root, file): file for file in files}
    found = []
    for name, file in names.items():
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        nodes = list(ast.walk(tree))
        asked = {word if word in names else word.rpartition(".")[0] for word in imported(tree)}
        found.append(
            Module(
                name,
                text.count("\n"),
                tuple(body_lines(n) for n in nodes if isinstance(n, Function)),
                tuple(shape_of(name, n) for n in nodes if isinstance(n, ast.ClassDef)),
                sum(isinstance(n, ast.Name) and n.id == "Any" for n in nodes),
                frozenset((asked & names.keys()) - {name}),
            )
        )
    return found


def name_of(root: Path, file: Path) -> str:
    """Dotted name of a file."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows_up(modules: list[Module]) -> list[tuple[str, str]]:
    """Imports from a lower layer into a higher one."""
    height = {name: -i for i, layer in enumerate(LAYERS) for name in layer}
    pairs = ((m.name, other) for m in modules for other in sorted(m.imports))
    parts = ((a, b, height.get(part_of(a)), height.get(part_of(b))) for a, b in pairs)
    return [(a, b) for a, b, low, high in parts if low is not None and high is not None and low < high]


def part_of(name: str) -> str:
    """The layer's name in a dotted name."""
    return name.split(".")[1] if "." in name else ""


def circles(modules: list[Module]) -> list[tuple[str, ...]]:
    """Sets of modules that import each other, and pairs of a folder and one inside it that do. `__init__` files, which
    gather what is public, are left out."""
    gathering = {m.name for m in modules if any(o.name.startswith(f"{m.name}.") for o in modules)}
    graph = {m.name: m.imports - gathering for m in modules if m.name not in gathering}
    return knots(graph) + folder_circles(graph)


def knots(graph: dict[str, frozenset[str]]) -> list[tuple[str, ...]]:
    """Sets of two and more nodes of which each is reached from each."""
    reached = {name: reach(graph, name) for name in graph}
    sets = {tuple(sorted(o for o in graph if o in reached[n] and n in reached[o])) for n in graph if n in reached[n]}
    return sorted(sets)


def reach(graph: dict[str, frozenset[str]], start: str) -> set[str]:
    """Everything that a node leads to."""
    seen: set[str] = set()
    open_nodes = list(graph[start])
    while open_nodes:
        node = open_nodes.pop()
        if node not in seen and node in graph:
            seen.add(node)
            open_nodes += graph[node]
    return seen


def folder_circles(graph: dict[str, frozenset[str]]) -> list[tuple[str, ...]]:
    """Pairs (folder, folder inside it) that import each other, below the packages."""
    arrows = {(folder_of(a), folder_of(b)) for a, others in graph.items() for b in others}
    return sorted((a, b) for a, b in arrows if b.startswith(f"{a}.") and a.count(".") and (b, a) in arrows)


def folder_of(name: str) -> str:
    """The folder that a module is in."""
    return name.rpartition(".")[0]


def row(package: str, modules: list[Module]) -> str:
    """One line of the table."""
    lengths = sorted(n for m in modules for n in m.functions) or [0]
    shapes = [s for m in modules for s in m.classes]
    return (
        f"{package:12} {sum(m.lines for m in modules):6} {len(lengths):5} {statistics.median(lengths):6.0f} "
        f"{lengths[int(0.9 * (len(lengths) - 1))]:4} {lengths[-1]:4} {sum(s.large for s in shapes):6} "
        f"{sum(len(s.late) for s in shapes):5} {sum(m.any for m in modules):4}"
    )


def table(modules: list[Module]) -> str:
    """The table per package, the large classes, the arrows up and the circles."""
    packages = sorted({m.package for m in modules})
    lines = [
        f"{'package':12} {'lines':>6} {'fns':>5} {'median':>6} {'p90':>4} {'max':>4} {'large':>6} {'late':>5} {'Any':>4}"
    ]
    lines += [row(p, [m for m in modules if m.package == p]) for p in packages]
    lines.append(row("all", modules))
    for shape in sorted((s for m in modules for s in m.classes if s.large), key=lambda s: -s.methods):
        late = f", {len(shape.late)} born late" if shape.late else ""
        lines.append(
            f"large: {shape.module}.{shape.name}: {shape.methods} methods, {len(shape.attributes)} attributes{late}"
        )
    lines += [f"up: {a} -> {b}" for a, b in arrows_up(modules)]
    lines += [f"circle: {' <-> '.join(names)}" for names in circles(modules)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(read(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)))
