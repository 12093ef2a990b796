"""Python files that a user brings: executed, and what they raise is told with its line."""

import importlib.util
from pathlib import Path
from types import ModuleType

from mkrpc.errors import InvalidArgumentError

__all__ = ["execute"]


def execute(path: Path, *, wanted: str) -> ModuleType:
    """The module of a file; ``wanted`` is an advice on what to give in place of what is none.

    Raises InvalidArgumentError for what is no Python file, and for what it raises or where it
    ends the process, with the line.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        what = "no Python file" if path.exists() else "there is no such file"
        raise InvalidArgumentError(f"{path}: {what}", advice=wanted)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        line = _line_of(error, spec.origin)
        where = f"{path}, line {line}" if line else f"{path}"
        raise InvalidArgumentError(
            f"{where}: {type(error).__name__}: {error}",
            advice=f"mend it; python {path} shows its whole traceback",
        ) from error
    return module


def _line_of(error: BaseException, file: str | None) -> int:
    """The last line of the file on the way to an error; 0 if it is none of it."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno or 0
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
