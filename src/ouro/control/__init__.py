"""Who may trade at all: halts by chain and strategy, outside of every trading process.

The store is a folder of files (``data_dir/control``) that engines, signer, supervisor and command line share.
Nothing here imports a trading room, so that it works whatever state those are in.
"""

from ouro.control.errors import ControlError
from ouro.control.model import Halt, HaltMode, Scope, blocks_trades
from ouro.control.store import ControlStore, control_folder

__all__ = ["ControlError", "ControlStore", "Halt", "HaltMode", "Scope", "blocks_trades", "control_folder"]
