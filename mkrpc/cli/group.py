"""How every command ends: its exit code, and its errors as two lines for a person."""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from mkrpc.early_interrupt import EXIT_INTERRUPTED
from mkrpc.errors import InvalidArgumentError, MkrpcError

__all__ = [
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_NO",
    "EXIT_OK",
    "EXIT_PIPE",
    "EXIT_USAGE",
    "Commands",
    "tell_error",
]

EXIT_OK = 0
EXIT_NO = 1
"""The command did its work and the answer is no."""
EXIT_USAGE = 2
"""No state of the machine could serve the command as typed."""
EXIT_FAILED = 3
"""The cluster cannot be reached, or refused."""
EXIT_PIPE = 141
"""Whoever read the output has gone, as after SIGPIPE."""

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_CANNOT_REACH = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}


class Commands(click.Group):
    """A group whose commands return their exit code (None: 0) or raise a MkrpcError.

    Commands are listed in the order in which they were added: that of a session.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a session, not of the alphabet."""
        return list(self.commands)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run a command and leave with its exit code. A bug keeps its traceback."""
        extra["standalone_mode"] = False
        _open_standard_streams()
        typed = sys.argv[1:] if args is None else args
        try:
            _check_text(typed)
            code = super().main(args, *rest, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = EXIT_USAGE
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else self._command_of(typed)
            _tell(error.format_message(), f"{where} --help")
            code = EXIT_USAGE
        except click.ClickException as error:
            _tell(error.format_message(), "")
            code = EXIT_FAILED
        except (click.Abort, KeyboardInterrupt):
            code = EXIT_INTERRUPTED
        except MkrpcError as error:
            tell_error(error)
            code = EXIT_USAGE if isinstance(error, InvalidArgumentError) else EXIT_FAILED
        except OSError as error:
            # With a file name it is a file that we use; without one it is what we print to.
            if error.filename is not None and error.errno in _CANNOT_REACH:
                what = f"{error.filename}: {error.strerror}"
                _tell(what, "name another file or folder, or ask its owner for the permission")
            elif error.filename is None and error.errno in _CANNOT_WRITE:
                _print_no_more()
                _tell(f"cannot write: {error.strerror}", "make room, or send the output elsewhere")
            else:
                raise
            code = EXIT_FAILED
        sys.exit(code if isinstance(code, int) else EXIT_OK)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. A reader that has gone is no answer: the exit code says so."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _print_no_more()
            return EXIT_PIPE

    def _command_of(self, typed: Sequence[str]) -> str:
        """The command that was meant, where click does not say: an option without its value."""
        path, command = "mkrpc", self
        for word in typed:
            found = command.commands.get(word)
            if found is None:
                break
            path = f"{path} {word}"
            if not isinstance(found, Commands):
                break
            command = found
        return path


def _open_standard_streams() -> None:
    """What the caller has closed is /dev/null: else a socket gets its number, and is printed to."""
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    if not closed:
        return
    # The lowest numbers are given first, so that these are the closed ones.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    for name in closed:
        setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))


def _print_no_more() -> None:
    """What is left in the buffer has nowhere to go, and Python would try once more at its end."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _check_text(arguments: Sequence[str]) -> None:
    """A byte that is no UTF-8 comes as half a surrogate pair, which nothing else takes."""
    for number, argument in enumerate(arguments, 1):
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise click.UsageError(f"argument {number}, {argument!r}, is not UTF-8")


def tell_error(error: MkrpcError, *, where: str = "") -> None:
    """Two lines on stderr: what happened, ``where`` unless the error says so, and what to do."""
    message = str(error)
    _tell(message if where in message else f"{where}: {message}", error.advice)


def _tell(message: str, advice: str) -> None:
    click.echo(f"mkrpc: {' '.join(message.split())}", err=True)
    if advice:
        click.echo(f"  → {' '.join(advice.split())}", err=True)
