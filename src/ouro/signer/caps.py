"""The hard limits that hold whatever the engine asks for. Pure: no clock, no files, no keys.

A transaction goes to the chain's executor, or from an operator to itself with nothing in it. So a compromised or
confused engine can neither move what operators and owner hold nor lift what rests in the executor. Within these
limits it can burn gas and divert a cycle's gain, by a plan with ``minProfit`` 0: see docs/security/executor.md.
"""

from ouro.config.model import ChainConfig, OuroConfig
from ouro.execution.program import bribe_share_ppm
from ouro.signer.messages import Refusal, SignRequest
from ouro.types import AttemptKind, Mode


class Caps:
    """Checks that need nothing but the configuration."""

    def __init__(self, config: OuroConfig) -> None:
        self._mode = config.mode
        self._signer = config.signer
        self._chains = config.chains

    def check(self, request: SignRequest) -> Refusal | None:
        """None when ``request`` is within the limits, else the first limit that it breaks."""
        if self._mode is not Mode.LIVE:
            return Refusal("mode", f"nothing is signed in mode {self._mode.value}")
        chain = self._chains.get(request.chain)
        if chain is None:
            return Refusal("unknown_chain", f"chain {request.chain[:40]!r} is not in the configuration")
        if request.chain_id != chain.chain_id:
            asked = f"asked for chain id {request.chain_id}, chain {request.chain} has {chain.chain_id}"
            return Refusal("chain_id", asked)
        if request.operator not in chain.operators:
            return Refusal("unknown_operator", f"{request.operator[:50]!r} is no operator of {request.chain}")
        if request.notional_gwei < 0 or request.native_usd_micro < 0:
            return Refusal("malformed", "notional_gwei and native_usd_micro can't be negative")
        return self._check_destination(request, chain) or self._check_gas(request)

    def _check_destination(self, request: SignRequest, chain: ChainConfig) -> Refusal | None:
        if request.value_wei != 0:
            return Refusal("value", f"value is {request.value_wei} wei, only 0 is signed")
        if request.kind is AttemptKind.CANCEL:
            if request.to != request.operator:
                return Refusal(
                    "destination", f"a cancel goes to {request.operator} itself, not to {request.to[:50]!r}"
                )
            if request.data or request.access_list:
                return Refusal("cancel_not_empty", "a cancel carries neither data nor an access list")
        elif chain.executor is None or request.to != chain.executor:
            return Refusal("destination", f"{request.to[:50]!r} is not the executor of {request.chain}")
        return self._check_bribe(request)

    def _check_bribe(self, request: SignRequest) -> Refusal | None:
        """A share of the profit is the only money that a trade can give away."""
        share, limit = bribe_share_ppm(request.data), self._signer.max_bribe_ppm
        if share > limit:
            return Refusal("bribe", f"a bribe of {share} ppm is above {limit} (signer.max_bribe_ppm)")
        return None

    def _check_gas(self, request: SignRequest) -> Refusal | None:
        limit, fee_limit = self._signer.max_gas_limit, self._signer.max_fee_per_gas_wei
        if request.gas_limit > limit:
            return Refusal("gas_limit", f"gas limit {request.gas_limit} is above {limit} (signer.max_gas_limit)")
        fee, tip = request.max_fee_per_gas_wei, request.max_priority_fee_per_gas_wei
        if fee > fee_limit:
            return Refusal("fee_cap", f"fee per gas {fee} wei is above {fee_limit} (signer.max_fee_per_gas_wei)")
        if tip > fee:
            return Refusal("fee_cap", f"priority fee {tip} wei is above the whole fee per gas {fee} wei")
        return None
