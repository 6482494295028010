"""Programs that only try something: a loan of one unit, paid back at once."""

from ouro.execution.capital import LoanKind, LoanSource
from ouro.execution.program import Kind, Op, Program, encode_program

_ONE = 1


def rehearsal(source: LoanSource) -> bytes:
    """Calldata that borrows one unit and gives it back with the fee.

    Where nothing is here to pay a fee with, it reverts at the end, after what matters was touched.
    """
    token, lender = source.token.lower(), source.lender.lower()
    owed = _ONE + source.fee_wei(_ONE)
    pay = Op(Kind.TRANSFER, amount_wei=owed, to=lender)
    match source.kind:
        case LoanKind.V4:
            ops = (
                Op(Kind.UNLOCK, lender),
                Op(Kind.TAKE, amount_wei=_ONE, token=token),
                Op(Kind.SETTLE, amount_wei=_ONE, token=token),
            )
        case LoanKind.BALANCER:
            ops = (Op(Kind.LOAN_BALANCER, lender, amount_wei=_ONE, token=token), pay)
        case LoanKind.MORPHO:
            ops = (Op(Kind.LOAN_MORPHO, lender, amount_wei=_ONE, token=token), Op(Kind.RECEIVED, token=token))
        case LoanKind.AAVE:
            fee = source.fee_wei(_ONE)
            ops = (
                Op(Kind.LOAN_AAVE, lender, amount_wei=_ONE, token=token, fee=fee),
                Op(Kind.RECEIVED, token=token),
            )
        case LoanKind.V3_FLASH:
            ops = (Op(Kind.LOAN_V3, lender, source.token_index == 1, _ONE), pay)
        case LoanKind.INVENTORY:
            raise ValueError("nothing is borrowed of what is here")
    return encode_program(Program(None, 0, token, ops))
