"""The small slips that the mutation bench plants: what can go wrong at each place of a module, as text before and after."""

import ast
import copy
import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """`file` (relative to the checkout) with bytes [start, end) replaced by `new`; `line` is 1-based."""

    file: str
    line: int
    kind: str
    start: int
    end: int
    new: str
    function: str

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """The changed source line(s) before and after, stripped."""
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end)
        last = len(source) if last < 0 else last
        changed = source[first : self.start] + self.new.encode() + source[self.end : last]
        return " ".join(source[first:last].decode().split()), " ".join(changed.decode().split())


NEGATED: dict[type, type] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
# Only if integers are compared: floats that are exactly equal do not happen, so that `<` is `<=` for them.
BOUNDARY: dict[type, type] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Mult,
}  # fmt: skip
OPPOSITES = [
    ("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("argmin", "argmax"), ("any", "all"), ("floor", "ceil"),
    ("sin", "cos"), ("nanmin", "nanmax"), ("fmin", "fmax"), ("lower", "upper"), ("open", "closed"), ("start", "end"),
    ("first", "last"), ("zeros", "ones"), ("zeros_like", "ones_like"), ("steady", "ros"), ("isfinite", "isnan"),
]  # fmt: skip
OPPOSITE = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
DROPPED_CALLS = {
    "abs",
    "clip",
    "sqrt",
    "square",
    "wrap",
    "copy",
    "sorted",
    "reversed",
    "round",
    "strip",
    "lower",
    "cumsum",
}
# Keywords whose value changes no result, or only how something is said.
SILENT_KEYWORDS = {"strict", "daemon", "help", "metavar", "description", "stacklevel", "indent", "flush", "encoding"}
SILENT_CALLS = {"debug", "info", "print", "warn", "filterwarnings", "simplefilter", "add_argument"}


def mutants(root: Path, file: Path) -> list[Mutant]:
    """All slips that can be planted in one module."""
    source = file.read_bytes()
    tree = ast.parse(source)
    return list(_Finder(str(file.relative_to(root)), source).find(tree))


def sample(root: Path, files: list[Path], count: int, seed: int) -> list[Mutant]:
    """`count` slips of these modules: a place is drawn first, then what goes wrong there. More of the same seed begin with
    the same ones."""
    places: dict[tuple[str, int, int], list[Mutant]] = {}
    for file in sorted(files):
        for mutant in mutants(root, file):
            places.setdefault((mutant.file, mutant.line, mutant.start), []).append(mutant)
    order = sorted(places)
    random.Random(seed).shuffle(order)
    return [random.Random(f"{seed} {place}").choice(places[place]) for place in order[:count]]


def key(mutant: Mutant, source: bytes) -> str:
    """What stays the same when the module moves around it: its file and its changed line."""
    return hashlib.sha256("\0".join((mutant.file, *mutant.lines(source))).encode()).hexdigest()[:12]


class _Finder:
    def __init__(self, file: str, source: bytes):
        self.file, self.source = file, source
        self.line_starts = [0]
        for line in source.splitlines(keepends=True):
            self.line_starts.append(self.line_starts[-1] + len(line))

    def find(self, tree: ast.AST, function: str = "") -> Iterator[Mutant]:
        for node in ast.iter_child_nodes(tree):
            if self._is_quiet(node):
                continue
            inside = function
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and "()" not in function:
                inside = f"{function}.{node.name}".lstrip(".")
                if not isinstance(node, ast.ClassDef):
                    inside += "()"  # what is defined inside belongs to it
            _mark_unknown_size(node)
            yield from self._slips(node, inside)
            yield from self._children(node, inside)

    def _children(self, node: ast.AST, inside: str) -> Iterator[Mutant]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                if default is not None:
                    yield from self.find(ast.Expression(default), inside)
            for statement in node.body:
                yield from self.find(ast.Module([statement], []), inside)
        elif isinstance(node, ast.ClassDef):
            yield from self.find(ast.Module(node.body, []), inside)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield from self.find(ast.Expression(node.value), inside)
        else:
            yield from self.find(node, inside)

    @staticmethod
    def _is_quiet(node: ast.AST) -> bool:
        """Text, types and messages: nothing that a number or a decision depends on."""
        if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
            return True
        if isinstance(node, ast.keyword):
            return node.arg in SILENT_KEYWORDS
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return True
        if isinstance(node, ast.Call) and _name(node.func) in SILENT_CALLS:
            return True
        if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
            return True
        return isinstance(node, ast.Assign) and any(_name(t).isupper() and "__" in _name(t) for t in node.targets)

    def _slips(self, node: ast.AST, function: str) -> Iterator[Mutant]:
        for kind, maker in SLIPS:
            for new in maker(node):
                yield self._mutant(node, kind, new, function)

    def _mutant(self, node: ast.AST, kind: str, new: ast.AST, function: str) -> Mutant:
        start = self.line_starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = self.line_starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        text = ast.unparse(ast.fix_missing_locations(new))
        if isinstance(node, ast.stmt):
            text = text.replace("\n", "\n" + " " * node.col_offset)
        elif isinstance(new, ast.BinOp | ast.BoolOp | ast.Compare | ast.UnaryOp | ast.IfExp):
            text = f"({text})"
        return Mutant(self.file, node.lineno, kind, start, end, text, function)  # type: ignore[attr-defined]


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _with(node: ast.AST, **changes: object) -> ast.AST:
    new = copy.copy(node)
    for field, value in changes.items():
        setattr(new, field, value)
    return new


def _comparison(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Compare):
        return
    for i, op in enumerate(node.ops):
        sides = [node.left, *node.comparators][i : i + 2]
        integers = any(isinstance(s, ast.Constant) and type(s.value) is int for s in sides)
        integers |= any(isinstance(s, ast.Call) and _name(s.func) == "len" for s in sides)
        tables = [NEGATED, BOUNDARY] if integers else [NEGATED]
        for table in tables:
            if type(op) in table:
                yield _with(node, ops=[*node.ops[:i], table[type(op)](), *node.ops[i + 1 :]])


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    if (
        isinstance(node, ast.BinOp)
        and type(node.op) in ARITHMETIC
        and not _is_text(node.left)
        and not _is_text(node.right)
    ):
        yield _with(node, op=ARITHMETIC[type(node.op)]())
    if isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC and not _is_text(node.value):
        yield _with(node, op=ARITHMETIC[type(node.op)]())


def _mark_unknown_size(node: ast.AST) -> None:
    """The 1 of a -1 in `reshape` is no slip's: NumPy takes every negative number for the unknown size."""
    if isinstance(node, ast.Call) and _name(node.func) == "reshape":
        for size in node.args:
            if isinstance(size, ast.UnaryOp) and isinstance(size.op, ast.USub):
                size.operand.unknown_size = True  # type: ignore[attr-defined]


def _constant(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Constant) or hasattr(node, "unknown_size"):
        return
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
    elif isinstance(node.value, float):
        yield ast.Constant(1.0 if node.value == 0.0 else node.value * 2.0)


def _sign(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield node.operand


def _junction(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for i in range(len(node.values)):
            rest = node.values[:i] + node.values[i + 1 :]
            yield rest[0] if len(rest) == 1 else _with(node, values=rest)


def _branch(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.IfExp):
        yield _with(node, body=node.orelse, orelse=node.body)


def _dropped_statement(node: ast.AST) -> Iterator[ast.AST]:
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and _name(node.value.func) not in SILENT_CALLS
        or isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break | ast.Delete)
        or isinstance(node, ast.Assign)
        and all(isinstance(t, ast.Attribute | ast.Subscript) for t in node.targets)
    ):
        yield ast.Pass()


def _dropped_guard(node: ast.AST) -> Iterator[ast.AST]:
    """An `if` whose only work is to leave early."""
    if isinstance(node, ast.If) and not node.orelse and len(node.body) == 1 and isinstance(node.body[0], ast.Return):
        yield ast.Pass()


SYMMETRIC = {"min", "max", "minimum", "maximum", "isclose", "allclose", "array_equal", "hypot", "convolve", "suppress"}
"""Functions whose first two arguments may stand in either order, as those of np.clip(x, low, high): the larger one counts."""


def _exchanged_arguments(node: ast.AST) -> Iterator[ast.AST]:
    if (
        isinstance(node, ast.Call)
        and len(node.args) >= 2
        and not any(isinstance(a, ast.Starred) for a in node.args[:2])
    ):
        a, b = node.args[:2]
        either = _name(node.func) in SYMMETRIC or (_name(node.func) == "clip" and len(node.args) == 3)
        if ast.dump(a) != ast.dump(b) and not _is_text(a) and not _is_text(b) and not either:
            yield _with(node, args=[b, a, *node.args[2:]])


def _opposite_name(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in OPPOSITE:
        yield _with(node, attr=OPPOSITE[node.attr])
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in ("min", "max", "any", "all"):
        yield _with(node, id=OPPOSITE[node.id])


def _dropped_call(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call) and _name(node.func) in DROPPED_CALLS:
        if node.args and not isinstance(node.args[0], ast.Starred):
            yield node.args[0]
        elif not node.args and isinstance(node.func, ast.Attribute):
            yield node.func.value


def _other_end(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value == 0:
        yield _with(node, slice=ast.UnaryOp(ast.USub(), ast.Constant(1)))
    if isinstance(node, ast.Subscript) and ast.dump(node.slice) == ast.dump(ast.UnaryOp(ast.USub(), ast.Constant(1))):
        yield _with(node, slice=ast.Constant(0))


def _dropped_keyword(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call):
        for i, keyword in enumerate(node.keywords):
            if keyword.arg is not None and keyword.arg not in SILENT_KEYWORDS:
                yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])


SLIPS: list[tuple[str, Callable[[ast.AST], Iterator[ast.AST]]]] = [
    ("comparison", _comparison),
    ("arithmetic", _arithmetic),
    ("constant", _constant),
    ("sign or not", _sign),
    ("and / or", _junction),
    ("branches exchanged", _branch),
    ("statement dropped", _dropped_statement),
    ("early return dropped", _dropped_guard),
    ("arguments exchanged", _exchanged_arguments),
    ("opposite name", _opposite_name),
    ("call dropped", _dropped_call),
    ("other end", _other_end),
    ("keyword dropped", _dropped_keyword),
]
