"""What a mutant is: one small change of a module's syntax tree that a careless hand might make.

A comparison turned, a sign, a constant moved by one, a condition dropped or negated, a filter left out, a statement left out, an
answer of None. Docstrings, error texts, annotations, abstract methods and type aliases are left alone: no law speaks of them.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Mutant(NamedTuple):
    """One change of one module."""

    module: str
    line: int
    what: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line} {self.what}"


TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_STATEMENTS = ast.Expr | ast.Assign | ast.AugAssign | ast.Raise | ast.Delete
RENAMED = {"max": "min", "min": "max", "all": "any", "any": "all"}


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse(source)
    hidden = _untouched(tree)
    for node in [node for node in ast.walk(tree) if id(node) not in hidden]:
        for what, change in _changes(node, hidden):
            undo = copy.copy(node.__dict__)
            change()
            line = getattr(node, "lineno", 0)
            yield Mutant(module, line, what, ast.unparse(ast.fix_missing_locations(tree)))
            node.__dict__.clear()
            node.__dict__.update(undo)


def _changes(node: ast.AST, hidden: set[int]) -> Iterator[tuple[str, Callable[[], None]]]:
    def setting(name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(node, name, value)

    match node:
        case ast.Compare(ops=[op]) if type(op) in TURNED:
            yield f"{type(op).__name__} turned", setting("ops", [TURNED[type(op)]()])
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in TURNED:
            yield f"{type(op).__name__} turned", setting("op", TURNED[type(op)]())
        case ast.BoolOp(op=op, values=values):
            yield f"{type(op).__name__} turned", setting("op", TURNED[type(op)]())
            for index in range(len(values)):
                rest = values[:index] + values[index + 1 :]
                if rest:
                    yield f"condition {index + 1} dropped", setting("values", rest if len(rest) > 1 else rest * 2)
        case ast.Constant(value=bool(value)):
            yield f"{value} turned", setting("value", not value)
        case ast.Constant(value=int(value)):
            yield f"{value} moved up", setting("value", value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in RENAMED:
            yield f"{name} turned", setting("func", ast.Name(RENAMED[name], ast.Load()))
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield "condition negated", setting("test", ast.UnaryOp(ast.Not(), test))
        case ast.comprehension(ifs=[_, *_]):
            yield "filter dropped", setting("ifs", [])
        case ast.Return(value=ast.expr() as value) if not _as_good_as_none(value):
            yield "returns None", setting("value", ast.Constant(None))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not dropped", setting("operand", ast.UnaryOp(ast.Not(), operand))
    for name in ("body", "orelse"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            for index, statement in enumerate(block):
                says_nothing = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
                if isinstance(statement, _STATEMENTS) and not says_nothing and id(statement) not in hidden:
                    rest = [*block[:index], ast.Pass(), *block[index + 1 :]]
                    yield f"`{ast.unparse(statement).splitlines()[0][:60]}` left out", setting(name, rest)


def _as_good_as_none(value: ast.expr) -> bool:
    """None, False, and the names of empty tuples: their readers only ask whether there is anything."""
    match value:
        case ast.Constant(value=None | False):
            return True
        case ast.Name(id=name):
            return name.startswith("NO_")
        case _:
            return False


def _untouched(tree: ast.Module) -> set[int]:
    """The nodes that no law speaks of."""
    hidden: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(returns=returns, args=args, decorator_list=decorators):
                hidden += [returns] if returns else []
                hidden += [a.annotation for a in (*args.args, *args.kwonlyargs) if a.annotation]
                hidden += decorators
                if any(isinstance(d, ast.Name) and d.id == "abstractmethod" for d in decorators):
                    hidden += [node]
            case ast.ClassDef(decorator_list=decorators):
                hidden += decorators
            case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
                hidden += [node]
            case ast.Assign(value=ast.Subscript(value=ast.Name(id="Callable"))):
                hidden += [node]
            case ast.AnnAssign(annotation=annotation):
                hidden += [annotation]
                if isinstance(annotation, ast.Name) and annotation.id == "TypeAlias":
                    hidden += [node]
            case ast.Raise(exc=ast.expr() as exc):
                hidden += [exc]
            case ast.JoinedStr():
                hidden += [node]
            case ast.Assert(msg=ast.expr() as msg):
                hidden += [msg]
            case ast.keyword(arg="strict" | "allow_multithreading"):
                hidden += [node]
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                hidden += [node]
    return {id(inner) for node in hidden for inner in ast.walk(node)}
