"""The families by name: one line each. It imports none of them, so that a configuration is checked in no time and
the signer needs none of their code; ``registry`` does.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A family's name and the class that implements it, as ``module:Class``.

    ``fee_configured``: the configuration of a factory has to tell the fee of its pools, because no contract does.
    """

    name: str
    implementation: str
    fee_configured: bool = False


CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("uniswap_v2", "ouro.protocols.uniswap_v2:UniswapV2", fee_configured=True),
        Entry("swapr", "ouro.protocols.swapr:Swapr"),
        Entry("uniswap_v3", "ouro.protocols.uniswap_v3:UniswapV3"),
        Entry("pancakeswap_v3", "ouro.protocols.pancakeswap_v3:PancakeV3"),
        Entry("slipstream", "ouro.protocols.slipstream:Slipstream"),
        Entry("uniswap_v4", "ouro.protocols.uniswap_v4:UniswapV4"),
        Entry("algebra_integral", "ouro.protocols.algebra_integral:AlgebraIntegral"),
        Entry("algebra_adaptive", "ouro.protocols.algebra_adaptive:AlgebraAdaptive"),
        Entry("solidly", "ouro.protocols.solidly:Solidly"),
        Entry("saddle", "ouro.protocols.curve_stable:Saddle"),
        Entry("curve_stable", "ouro.protocols.curve_stable:CurveStable"),
        Entry("curve_meta", "ouro.protocols.curve_stable:CurveMeta"),
        Entry("twocrypto", "ouro.protocols.curve_crypto:Twocrypto"),
        Entry("liquidity_book", "ouro.protocols.liquidity_book:LiquidityBook"),
        Entry("curve_stable_ng", "ouro.protocols.curve_stable:CurveStableNG"),
        Entry("balancer_v2_weighted", "ouro.protocols.balancer_v2_weighted:BalancerV2Weighted"),
        Entry("balancer_v2_stable", "ouro.protocols.balancer_v2_stable:BalancerV2Stable"),
        Entry("balancer_v3_weighted", "ouro.protocols.balancer_v3_weighted:BalancerV3Weighted"),
        Entry("balancer_v3_stable", "ouro.protocols.balancer_v3_stable:BalancerV3Stable"),
        Entry("erc4626", "ouro.protocols.erc4626:Erc4626"),
        Entry("wrapped_staked", "ouro.protocols.wrapped_staked:WrappedStaked"),
    )
}
"""What ``DexConfig.family`` may be."""
