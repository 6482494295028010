"""What the codes of refusals mean, for people."""

from ouro.risk.limits import Reason

MEANINGS: dict[str, str] = {
    Reason.KILL_FILE: "a kill file is there; remove it when its cause is gone",
    Reason.MODE: "the mode does not allow it (observe, paper or live)",
    Reason.UNKNOWN_CHAIN: "its chain is not in the configuration",
    Reason.HALTED: "its chain or strategy was halted",
    Reason.BOOKS: "the books could not be written, and what is not booked is not traded",
    Reason.STALE: "the state of one of its pools was too old to trade on",
    Reason.ORPHANED: "the block it was found on was no longer the head",
    Reason.EXPIRED: "its last block had passed",
    Reason.BAD_PLAN: "its amounts or tokens did not fit together; that is a bug, please report it",
    Reason.DUPLICATE: "the same order had been approved before",
    Reason.NOT_PROFITABLE: "after gas and bid too little of it was left",
    Reason.NOTIONAL: "its amount was above the limit of one trade",
    Reason.GAS: "its gas could have cost more than the limit of one trade",
    Reason.OPEN_ATTEMPTS: "as many attempts as allowed were under way",
    Reason.DAILY_LOSS: "with it the day's loss could have passed its limit",
    Reason.REVERTS: "too many trades had reverted within the hour",
    Reason.WASTED_GAS: "failed trades had wasted too much gas within the hour",
    "journal": "it could not be written to the journal, and what is not there is never sent",
    "malformed": "the signer could not read the request; that is a bug, please report it",
    "no_free_operator": "every operator account had a transaction under way; more accounts send more at once",
    "not_encodable": "the executor contract can't carry it out in one transaction",
    "quote_failed": "the exact quotes of its pools could not be computed",
    "preflight_moved": "in pre-flight it no longer paid: the state had moved",
    "preflight_failed": "in pre-flight it reverted",
    "preflight_differs": "pre-flight gave another profit than the integers; one of them is wrong (`ouro doctor`)",
    "preflight_gas": "pre-flight needed more gas than the plan allows",
    "preflight_unprofitable": "with the gas that pre-flight measured nothing of it was left",
    "signer_not_reached": "the signer did not answer; nothing was signed",
    "signer_unavailable": "the signer went away while it signed; its nonce was taken back",
    "signer_fenced": "another engine has taken over this chain: the signer refused the older one",
}
"""By code. What is not here is shown as it is: the detail beside it is in words anyway."""

OUTCOMES = {
    "landed": "it landed",
    "lost": "somebody else was first: it was included, and the executor refused to run at a loss",
    "reverted": "it was included and failed, though nobody had moved its pools",
    "expired": "its last block passed without it",
    "dropped": "the node forgot it; its nonce was taken back",
}


def meaning(reason: str) -> str:
    """The code in words."""
    known = MEANINGS.get(reason)
    if known is not None:
        return known
    if reason.startswith("signer_"):
        return f"the signer refused it ({reason.removeprefix('signer_').replace('_', ' ')})"
    return reason.replace("_", " ")
