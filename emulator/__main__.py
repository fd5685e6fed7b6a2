"""The command line of the emulator: reads arguments and starts the server, nothing else.

Imports stand inside `main` because every training process imports this module again when it is spawned.
"""

import argparse
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; arguments win over `EMULATOR_*` variables."""
    from emulator.server import serve
    from emulator.settings import Settings

    parser = argparse.ArgumentParser(prog="emulator", description="A local Azure OpenAI for fine-tuning.")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (8111); 0 takes a free one")
    parser.add_argument("--state", help="directory that keeps files, jobs, models and deployments over restarts")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    serve(Settings(**given))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is written and stopped; tearing down the learner would only take time
