"""The audit chain: what was decided, by what, on which inputs, in records that can't be changed unnoticed."""

from ouro.audit.chain import AuditChain, note
from ouro.audit.checkpoint import Checkpoint, read_checkpoint, take_checkpoint, write_checkpoint
from ouro.audit.errors import AuditError
from ouro.audit.verify import AuditReport, ChainReport, Problem, verify

__all__ = [
    "AuditChain",
    "AuditError",
    "AuditReport",
    "ChainReport",
    "Checkpoint",
    "Problem",
    "note",
    "read_checkpoint",
    "take_checkpoint",
    "verify",
    "write_checkpoint",
]
