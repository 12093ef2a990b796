"""``mkrpc``, or ``python -m mkrpc``: the command line."""

from mkrpc.early_interrupt import quiet_imports

__all__ = ["main"]


def main() -> None:
    """Run the command that was typed."""
    with quiet_imports():
        from mkrpc.cli import main as command_line
    command_line(prog_name="mkrpc")


if __name__ == "__main__":
    main()
