"""``python -m ouro.signer CONFIG``: the signing process without the rest of the command line."""

import sys

from ouro.config.load import ConfigError, load_config
from ouro.signer.main import run_signer


def main(arguments: list[str]) -> int:
    """Exit code of the process."""
    if len(arguments) != 1:
        print("usage: python -m ouro.signer CONFIG", file=sys.stderr)
        return 2
    try:
        config = load_config(arguments[0])
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return run_signer(config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
