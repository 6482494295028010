"""``python -m ouro.cli``: the same as ``ouro``."""

from ouro.cli.main import main

if __name__ == "__main__":
    main()
