"""A problem with a data file: where it is, what is wrong, what to do. All problems of a run are reported together."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, order=True)
class Problem:
    """One fault, printed as `file:line:column: field: message; hint`."""

    file: str
    line: int
    column: int
    field: str
    message: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        what = f"{self.field}: {self.message}" if self.field else self.message
        mark = "" if self.severity == "error" else "warning: "
        return visible(f"{where}: {mark}{what}" + (f"; {self.hint}" if self.hint else ""))

    def as_json(self) -> dict[str, Any]:
        """The same facts for a program."""
        return asdict(self)


def visible(text: str) -> str:
    """One printable line: names and values come from strangers, and a terminal or a CI log obeys control characters."""
    return re.sub(r"[^\x20-\x7e]", lambda found: c if (c := found.group()).isprintable() else ascii(c)[1:-1], text)
