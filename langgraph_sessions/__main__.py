"""`python -m langgraph_sessions`, also installed as `langgraph-sessions`."""

from __future__ import annotations

import sys

NEEDED = ("click", "rich", "prompt_toolkit")


def main() -> int:
    """Run the command line and return its exit status: 2 for wrong input, 130 after Ctrl-C."""
    try:
        from langgraph_sessions.cli import main

        return main.run()  # Each command imports what it alone needs.
    except KeyboardInterrupt:  # While all that is imported.
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        print('The commands need more: pip install "langgraph-sessions[cli]"', file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
