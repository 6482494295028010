"""Why an execution reverted: beaten by somebody faster, or wrong."""

import re
from typing import Literal

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from ouro.hashing import selector

RevertKind = Literal["competitive", "bug"]

_ERROR_STRING = selector("Error(string)")
_PANIC = selector("Panic(uint256)")
_SHORTFALL = selector("Shortfall(uint256,uint256)")
# V4's books that do not balance, or a price already at its bound: a pool gave another amount than planned.
_COMPETITIVE = {
    selector("Late()"): "Late",
    selector("CurrencyNotSettled()"): "CurrencyNotSettled",
    selector("PriceLimitAlreadyExceeded(uint160,uint160)"): "PriceLimitAlreadyExceeded",
    # Solidly pairs, and Algebra's pools: the same refusals as custom errors.
    selector("K()"): "K",
    selector("InsufficientLiquidity()"): "InsufficientLiquidity",
    selector("insufficientInputAmount()"): "insufficientInputAmount",
    selector("invalidLimitSqrtPrice()"): "invalidLimitSqrtPrice",
    # A venue before gave less than planned, so that the next one can't pull all of it.
    selector("ERC20InsufficientBalance(address,uint256,uint256)"): "ERC20InsufficientBalance",
}
_BUGS = {
    selector(f"{name}()"): name
    for name in (
        "NotOperator",
        "NotOwner",
        "IsPaused",
        "Reentered",
        "BadCallback",
        "CallbackSkipped",
        "BadProgram",
        "TransferFailed",
        "BalanceUnreadable",
        "BribeRefused",
        "ZeroAddress",
        "TooMany",
    )
}
_BALANCE_FELL = selector("BalanceFell(address)")
# Pairs of every V2 fork: "<Name>: K" when the fixed output no longer fits, INSUFFICIENT_LIQUIDITY when it exceeds
# the reserve. V3 pools: IIA when less arrived than they ask, SPL when the price already stands at its bound. Tokens
# of OpenZeppelin's older kind: less is here than a venue was to pull.
_MOVED = re.compile(r"(?:[^:]*: ?(?:K|INSUFFICIENT_LIQUIDITY)|IIA|SPL|ERC20: transfer amount exceeds balance)")


def classify_revert(data: bytes) -> tuple[RevertKind, str]:
    """Kind and readable reason of a revert payload.

    "competitive": pools had moved before the transaction ran, nothing to repair. "bug": anything else, worth a
    look: a wrong program, a hostile pool or token, a wrong caller.
    """
    head, body = data[:4], data[4:]
    if head in _COMPETITIVE:
        return "competitive", _COMPETITIVE[head]
    if head in _BUGS:
        return "bug", _BUGS[head]
    try:
        if head == _SHORTFALL:
            got, want = decode(["uint256", "uint256"], body)
            return "competitive", f"Shortfall(got={got}, want={want})"
        if head == _BALANCE_FELL:
            return "bug", f"BalanceFell({decode(['address'], body)[0]})"
        if head == _PANIC:
            return "bug", f"Panic(0x{decode(['uint256'], body)[0]:02x})"
        if head == _ERROR_STRING:
            # Foreign text: escaped and cut before it gets into logs.
            text = decode(["string"], body)[0][:200].encode("unicode_escape").decode()
            return ("competitive" if _MOVED.fullmatch(text) else "bug"), text
    except (DecodingError, UnicodeDecodeError, OverflowError):
        pass
    return "bug", f"0x{data[:68].hex()}" if data else "no reason given"
