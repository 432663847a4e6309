"""JavaScript from a small part of Python: pure functions of numbers, texts, records, lists and dictionaries.

Understood: functions of positional parameters with assignments to new names, if and return; arithmetic (% of numbers
from 0 on), comparisons, conditional expressions, attributes, subscripts, calls of each other and of a few builtins,
records made by keywords, comprehensions. Everything else is refused with its place, so that what a page computes cannot
silently differ from what Python computes. An empty list is false in Python and true in JavaScript: conditions on lists
are refused. A key of `sorted` is a list of numbers or texts.
"""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HELPERS = """\
const sum = (values) => values.reduce((all, one) => all + one, 0);
const range = (end) => Array.from({ length: end }, (_, at) => at);
const compare = (a, b) => {
  const at = a.findIndex((one, i) => one !== b[i]);
  return at < 0 ? 0 : a[at] < b[at] ? -1 : 1;
};
const sorted = (values, key) =>
  values.map((one) => [key(one), one]).sort(([a], [b]) => compare(a, b)).map(([, one]) => one);
"""
_MATH = {"min": (2, 9), "max": (2, 9), "ceil": (1, 1), "floor": (1, 1), "abs": (1, 1)}  # arguments, least and most
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.Pow: "**",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "===", ast.NotEq: "!==",
    ast.And: "&&", ast.Or: "||", ast.USub: "-", ast.Not: "!",
}  # fmt: skip
_WORDS = """arguments await case catch const debugger default delete do enum eval export extends function implements
instanceof interface let new null package private protected public static super switch this throw typeof undefined var
void sum range compare sorted Math Object Infinity"""
_RESERVED = frozenset(_WORDS.split())
_COLLECTIONS = (ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.GeneratorExp)


class TranspileError(ValueError):
    """Python that has no counterpart here; says file, line and what it is."""


def transpile(files: Iterable[Path]) -> str:
    """One JavaScript module from Python files. Raises TranspileError at the first thing that is not understood."""
    trees = {path.name: ast.parse(path.read_text("utf-8"), str(path)) for path in files}
    top = [node for tree in trees.values() for node in tree.body]
    functions = {node.name: len(node.args.args) for node in top if isinstance(node, ast.FunctionDef)}
    records = {node.name: _fields(node) for node in top if isinstance(node, ast.ClassDef)}
    constants = {
        one.id for node in top if isinstance(node, ast.Assign) for one in node.targets if type(one) is ast.Name
    }
    parts = [
        _Writer(name, functions, records, constants).top(node) for name, tree in trees.items() for node in tree.body
    ]
    return "\n".join([HELPERS, *filter(None, parts)])


def _fields(node: ast.ClassDef) -> list[str]:
    return [one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


class _Writer(ast.NodeVisitor):
    """Writes one statement at the top of a file; `visit` of an expression returns its JavaScript."""

    def __init__(self, file: str, functions: dict[str, int], records: dict[str, list[str]], names: set[str]) -> None:
        self.file, self.functions, self.records, self.names = file, functions, records, set(names)
        self.kinds: dict[str, str] = {}  # names that hold a list or a dictionary
        self.line = 0

    def refuse(self, node: ast.AST, what: str) -> TranspileError:
        return TranspileError(f"{self.file}:{getattr(node, 'lineno', 0)}: {what}")

    def generic_visit(self, node: ast.AST) -> Any:
        """Operators, and what nothing below understands."""
        if type(node) in _OPERATORS:
            return _OPERATORS[type(node)]
        raise TranspileError(f"{self.file}:{self.line}: {type(node).__name__} is not understood")

    def visit(self, node: ast.AST) -> Any:
        """JavaScript of an expression."""
        self.line = getattr(node, "lineno", self.line)  # operators have no line of their own
        return super().visit(node)

    def new_name(self, name: str, node: ast.AST) -> str:
        if name in _RESERVED or name in self.functions or name in self.records:
            raise self.refuse(node, f"{name} means something else already, here or in JavaScript")
        self.names.add(name)
        return name

    def top(self, node: ast.stmt) -> str:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef) or _is_text(node):
            return ""
        if isinstance(node, ast.Assign):
            return "export " + self.assign(node)
        if not isinstance(node, ast.FunctionDef):
            raise self.refuse(node, f"{type(node).__name__} is not understood between functions")
        a = node.args
        if a.vararg or a.kwarg or a.kwonlyargs or a.defaults or a.posonlyargs or node.decorator_list:
            raise self.refuse(node, f"{node.name}: only plain positional parameters, no defaults, no decorators")
        for one in a.args:
            base = one.annotation.value if isinstance(one.annotation, ast.Subscript) else one.annotation
            if isinstance(base, ast.Name) and base.id in ("list", "dict"):
                self.kinds[one.arg] = base.id
        parameters = ", ".join(self.new_name(one.arg, node) for one in a.args)
        lines = [line for one in node.body if not _is_text(one) for line in self.statement(one)]
        says = (ast.get_docstring(node) or "").splitlines()[:1]
        head = f"export function {node.name}({parameters}) {{"
        return "\n".join([*(f"// {line}" for line in says), head, *(f"  {line}" for line in lines), "}", ""])

    def statement(self, node: ast.stmt, inside: bool = False) -> list[str]:
        if isinstance(node, ast.Return) and node.value is not None:
            return [f"return {self.visit(node.value)};"]
        if isinstance(node, ast.Assign) and not inside:  # inside an if the name would end with the block
            return [self.assign(node)]
        if isinstance(node, ast.If):
            then = [f"  {line}" for one in node.body for line in self.statement(one, True)]
            other = [f"  {line}" for one in node.orelse for line in self.statement(one, True)]
            return [f"if ({self.truth(node.test)}) {{", *then, *(["} else {", *other] if other else []), "}"]
        raise self.refuse(node, f"{type(node).__name__} is not understood {'in an if' if inside else 'in a function'}")

    def assign(self, node: ast.Assign) -> str:
        target = node.targets[0]
        if len(node.targets) != 1 or not isinstance(target, ast.Name):
            raise self.refuse(node, "assign to one name at a time")
        value = self.visit(node.value)
        if target.id in self.names and node.col_offset:
            raise self.refuse(node, f"{target.id} has a value already; give the second one a name of its own")
        if isinstance(node.value, _COLLECTIONS):
            self.kinds[target.id] = "list"
        return f"const {self.new_name(target.id, node)} = {value};"

    def truth(self, node: ast.expr) -> str:
        if isinstance(node, _COLLECTIONS) or (isinstance(node, ast.Name) and node.id in self.kinds):
            raise self.refuse(node, "an empty list or dictionary is true in JavaScript; compare its length")
        if isinstance(node, ast.Call):
            raise self.refuse(node, "compare what a call returns with something")
        return str(self.visit(node))

    def visit_Constant(self, node: ast.Constant) -> str:
        if isinstance(node.value, bool):
            return str(node.value).lower()
        if isinstance(node.value, int | float):
            return repr(node.value)
        if isinstance(node.value, str) and node.value.isprintable() and not {'"', "\\"} & set(node.value):
            return f'"{node.value}"'
        raise self.refuse(node, f"the constant {node.value!r} is not understood")

    def visit_Name(self, node: ast.Name) -> str:
        if node.id != "inf" and node.id not in self.names:
            raise self.refuse(node, f"{node.id} is not known here")
        return "Infinity" if node.id == "inf" else node.id

    def visit_BinOp(self, node: ast.BinOp) -> str:
        if isinstance(node.left, _COLLECTIONS) or isinstance(node.right, _COLLECTIONS):
            raise self.refuse(node, "operators work on numbers; join lists as [*a, *b]")
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.FloorDiv):
            return f"Math.floor({left} / {right})"
        return f"({left} {self.visit(node.op)} {right})"

    def visit_UnaryOp(self, node: ast.UnaryOp) -> str:
        inner = self.truth(node.operand) if isinstance(node.op, ast.Not) else self.visit(node.operand)
        return f"({self.visit(node.op)}{inner})"

    def visit_Compare(self, node: ast.Compare) -> str:
        if len(node.ops) != 1:
            raise self.refuse(node, "one comparison at a time")
        return f"({self.visit(node.left)} {self.visit(node.ops[0])} {self.visit(node.comparators[0])})"

    def visit_BoolOp(self, node: ast.BoolOp) -> str:
        return "(" + f" {self.visit(node.op)} ".join(self.truth(one) for one in node.values) + ")"

    def visit_IfExp(self, node: ast.IfExp) -> str:
        return f"({self.truth(node.test)} ? {self.visit(node.body)} : {self.visit(node.orelse)})"

    def visit_Call(self, node: ast.Call) -> str:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        keywords = {str(one.arg): one.value for one in node.keywords}
        if name in self.records and not node.args and sorted(keywords) == sorted(self.records[name]):
            return "{ " + ", ".join(f"{key}: {self.visit(value)}" for key, value in keywords.items()) + " }"
        if name in self.records:
            raise self.refuse(node, f"{name}: give every field by name: {', '.join(self.records[name])}")
        key = keywords.get("key")
        if name == "sorted" and len(node.args) == 1 and isinstance(key, ast.Lambda) and isinstance(key.body, ast.List):
            one = self.new_name(key.args.args[0].arg, node)
            return f"sorted({self.visit(node.args[0])}, ({one}) => {self.visit(key.body)})"
        least, most = _MATH.get(name, (1, 1)) if name not in self.functions else (self.functions[name],) * 2
        known = name in self.functions or name in _MATH or name in ("sum", "range", "len")
        if keywords or not known or not least <= len(node.args) <= most:
            raise self.refuse(node, f"the call of {ast.unparse(node.func)} is not understood like this")
        arguments = ", ".join(self.visit(one) for one in node.args)
        return f"{arguments}.length" if name == "len" else f"{'Math.' if name in _MATH else ''}{name}({arguments})"

    def visit_List(self, node: ast.List) -> str:
        parts = ["..." + self.visit(e.value) if isinstance(e, ast.Starred) else self.visit(e) for e in node.elts]
        return f"[{', '.join(parts)}]"

    def visit_ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> str:
        opened, closed = "", ""
        for depth, one in enumerate(node.generators, 1):
            source = self.visit(one.iter)
            if isinstance(one.iter, ast.Name) and self.kinds.get(one.iter.id) == "dict":
                source = f"Object.keys({source})"
            if not isinstance(one.target, ast.Name):
                raise self.refuse(node, "a comprehension runs over one name")
            name = self.new_name(one.target.id, node)
            chosen = "".join(f".filter(({name}) => {self.truth(test)})" for test in one.ifs)
            opened += f"{source}{chosen}.{'map' if depth == len(node.generators) else 'flatMap'}(({name}) => ("
            closed += "))"
        return f"{opened}{self.visit(node.elt)}{closed}"

    visit_GeneratorExp = visit_ListComp  # noqa: N815

    def visit_Attribute(self, node: ast.Attribute) -> str:
        return f"{self.visit(node.value)}.{node.attr}"

    def visit_Subscript(self, node: ast.Subscript) -> str:
        if isinstance(node.slice, ast.Slice | ast.Tuple | ast.UnaryOp):
            raise self.refuse(node, "subscripts are single, from the front")
        return f"{self.visit(node.value)}[{self.visit(node.slice)}]"
