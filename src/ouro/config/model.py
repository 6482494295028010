"""The one typed configuration: TOML file plus ``OURO_*`` environment, checked before anything starts."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticKnownError

from ouro.config.alerts import AlertsConfig
from ouro.config.capital import CapitalConfig
from ouro.config.costs import CostsConfig
from ouro.config.dashboard import DashboardConfig
from ouro.config.fields import ConfigAddress, NonNegativeInt, PositiveInt
from ouro.config.gate import GateConfig
from ouro.config.monitoring import MonitoringConfig
from ouro.config.risk import RiskConfig, SendConfig
from ouro.protocols.catalogue import CATALOGUE
from ouro.types import Mode


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignOff(_Section):
    """Who takes the responsibility for trading a family live that is not proven, when, and why."""

    by: Annotated[str, Field(min_length=2)]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    reason: Annotated[str, Field(min_length=10)]


def _known_family(name: str) -> str:
    if name not in CATALOGUE:
        quoted = [repr(known) for known in sorted(CATALOGUE)]
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(quoted[:-1])} or {quoted[-1]}"})
    return name


FamilyName = Annotated[str, AfterValidator(_known_family)]


PoolKey = tuple[Annotated[int, Field(ge=0, le=0x800000)], Annotated[int, Field(gt=0, lt=32_768)]]


class DexConfig(_Section):
    """One factory whose pools are watched; for ``uniswap_v4`` the factory is the pool manager.

    ``discovery``: by its creation events, by asking its getters, or by both: where the node does not have the logs
    of the factory's first blocks, getters find what was created before. A factory without a list is asked for the
    pools of the chain's start, stable and other ``tokens``; ``fees_ppm`` (V3 types) and ``pool_keys`` (fee and tick
    spacing, V4) name what it has beside the usual.

    ``unproven`` watches a family whose proof is not whole (see ``protocols.proof``); live it needs
    ``sign_off`` as well.
    """

    name: str
    family: FamilyName
    factory: ConfigAddress
    fee_ppm: Annotated[int, Field(ge=0, lt=1_000_000)] | None = None
    start_block: NonNegativeInt = 0
    discovery: Literal["events", "getters", "both"] = "events"
    fees_ppm: tuple[Annotated[int, Field(ge=0, lt=1_000_000)], ...] = ()
    pool_keys: tuple[
        tuple[Annotated[int, Field(ge=0, le=0x800000)], Annotated[int, Field(gt=0, lt=32_768)]], ...
    ] = ()
    unproven: Literal["off", "watch"] = "off"
    sign_off: SignOff | None = None

    @model_validator(mode="after")
    def _fee_where_no_contract_tells_it(self) -> Self:
        configured = CATALOGUE[self.family].fee_configured
        if configured and self.fee_ppm is None:
            raise ValueError(f"dex {self.name!r}: fee_ppm is needed for {self.family} (3000 means 0.30 %)")
        if not configured and self.fee_ppm is not None:
            only = ", ".join(name for name, entry in CATALOGUE.items() if entry.fee_configured)
            raise ValueError(
                f"dex {self.name!r}: fee_ppm is only for {only}; pools of {self.family} tell theirs, remove it"
            )
        return self


class FreshnessConfig(_Section):
    """Ages of the last block beyond which a chain is Delayed, then Stale (no order is built)."""

    delayed_ms: PositiveInt = 3_000
    stale_ms: PositiveInt = 10_000

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.stale_ms <= self.delayed_ms:
            raise ValueError("stale_ms must be larger than delayed_ms")
        return self


class BidConfig(_Section):
    """How much of an expected profit is offered as priority fee."""

    share_ppm: Annotated[int, Field(ge=0, le=1_000_000)] = 100_000
    min_priority_fee_wei: NonNegativeInt = 1_000_000_000
    max_priority_fee_wei: PositiveInt = 500_000_000_000

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_priority_fee_wei > self.max_priority_fee_wei:
            raise ValueError(
                f"min_priority_fee_wei ({self.min_priority_fee_wei}) is above max_priority_fee_wei "
                f"({self.max_priority_fee_wei}); a bid would break the maximum"
            )
        return self


class BribeConfig(_Section):
    """The share of a realised profit that the executor itself pays to whoever includes the transaction.

    It goes to the block's fee recipient, or to ``recipient`` where blocks name nobody who builds them; that address
    has to be on the owner's list in the executor, and the share below the owner's cap there. The signer has a cap
    of its own (``signer.max_bribe_ppm``). ``paid_in`` "tokens" leaves it wrapped.
    """

    share_ppm: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    recipient: ConfigAddress | None = None
    paid_in: Literal["native", "tokens"] = "native"


class LoanConfig(_Section):
    """A lender that may pay a trade's first input where no pool of it gives credit.

    ``lender`` is the vault, pool or manager (left out for "inventory", which is what the owner keeps in the
    executor). ``max_wei`` is the most that is asked of it, ``fee_ppm`` what it takes (a V3 pool: its fee).
    ``token_index`` is the token's place in a V3 pool.
    """

    kind: Literal["inventory", "uniswap_v4", "balancer_v2", "morpho", "aave_v3", "uniswap_v3_flash"]
    lender: ConfigAddress | None = None
    token: ConfigAddress
    max_wei: PositiveInt
    fee_ppm: Annotated[int, Field(ge=0, lt=1_000_000)] = 0
    token_index: Literal[0, 1] = 0

    @model_validator(mode="after")
    def _has_a_lender(self) -> Self:
        if (self.lender is None) != (self.kind == "inventory"):
            asked = "names no lender" if self.kind == "inventory" else "needs a lender"
            raise ValueError(f"a loan of kind {self.kind} {asked}")
        return self


class GuardConfig(_Section):
    """What else than the last block (or second, ``late_by``) makes a late transaction give up cheaply.

    ``deadline``: the last second as well as the last block. ``parent_hash``: runs only on top of the block that it
    was made for. ``probe``: the executor first looks whether the first pool still stands where it stood: some
    3,000 gas when it does and saves most of a trade's gas when it doesn't.
    """

    deadline: Literal["on", "off"] = "off"
    parent_hash: Literal["on", "off"] = "off"
    probe: Literal["on", "off"] = "off"


class ChainConfig(_Section):
    """One chain: where it is, what is ours on it, and what is watched."""

    chain_id: PositiveInt
    profile: str = ""
    """A note of what the chain is like, for people; nothing depends on it."""
    endpoints: Annotated[tuple[str, ...], Field(min_length=1)]
    block_time_ms: PositiveInt
    fee_model: Literal["eip1559", "legacy"] = "eip1559"
    late_by: Literal["block", "time"] = "block"
    """By what a transaction knows that it comes too late: "time" where ``block.number`` is not the chain's own but
    its parent's (Arbitrum)."""
    access_lists: Literal["on", "off"] = "on"
    """Whether transactions list what they touch, where that saves gas. Off where the list's bytes cost more than it
    saves: rollups that charge for data apart."""
    finality_depth: PositiveInt = 3
    reorg_ring_depth: PositiveInt = 64
    wrapped_native: ConfigAddress
    multicall: ConfigAddress
    executor: ConfigAddress | None = None
    owner: ConfigAddress | None = None
    operators: tuple[ConfigAddress, ...] = ()
    start_tokens: tuple[ConfigAddress, ...] = ()
    stable_tokens: tuple[ConfigAddress, ...] = ()
    tokens: tuple[ConfigAddress, ...] = ()
    """Further tokens whose pools are asked for, of factories that are asked by pair of tokens."""
    max_hops: Annotated[int, Field(ge=2, le=5)] = 4
    search_memory_mb: Annotated[int, Field(ge=1)] = 512
    inclusion_blocks: PositiveInt = 1
    dexes: Annotated[tuple[DexConfig, ...], Field(min_length=1)]
    freshness: FreshnessConfig = FreshnessConfig()
    bid: BidConfig = BidConfig()
    send: SendConfig = SendConfig()
    bribe: BribeConfig = BribeConfig()
    guards: GuardConfig = GuardConfig()
    loans: tuple[LoanConfig, ...] = ()
    risk: RiskConfig | None = None
    """Limits of its own. What is left out here is taken from the common ``[risk]``."""
    log_range_blocks: PositiveInt = 2_000
    code_checks_per_block: NonNegativeInt = 32
    """Contracts whose code is compared with what it was after a block, in turn; with 0 only at the start."""
    accepted_code: dict[ConfigAddress, str] = {}
    """Changed code that the operator has looked at: contract to the digest that the quarantine's reason names."""
    probe_tokens: Literal["auto", "off", "refuse", "admit"] = "auto"
    """Whether tokens are tried before their pools are traded: pools of refused tokens are out, with "admit" also
    those of tokens that no trial has admitted. "auto" admits, and only observes in mode observe. The wrapped native
    coin and the start tokens are trusted."""
    refresh_timeout_ms: PositiveInt = 250
    """How long a decision waits for what no log tells (fees set by factories and hooks, pauses). Pools that were
    not read again by then sit that block out."""

    @model_validator(mode="after")
    def _start_defaults_to_native(self) -> Self:
        if len({dex.name for dex in self.dexes}) != len(self.dexes):
            raise ValueError("dex names must be distinct")
        if len({dex.factory for dex in self.dexes}) != len(self.dexes):
            raise ValueError("two dexes have the same factory")
        if len(set(self.operators)) != len(self.operators):
            twice = next(account for account in self.operators if self.operators.count(account) > 1)
            raise ValueError(f"operators: {twice} is named twice")
        if not self.start_tokens:
            object.__setattr__(self, "start_tokens", (self.wrapped_native,))
        if self.guards.parent_hash == "on" and (self.inclusion_blocks > 1 or self.late_by == "time"):
            raise ValueError(
                "guards.parent_hash names the block before, so it needs inclusion_blocks = 1 and a chain whose own "
                'blocks the executor sees (late_by = "block")'
            )
        return self


class SignerConfig(_Section):
    """The signing process: where it listens and the caps that it enforces by itself."""

    socket: Path = Path("signer.sock")
    keystore: Path | None = None
    password_env: str = "OURO_KEYSTORE_PASSWORD"  # noqa: S105 - the name of the variable, not a password
    halt_file: Path = Path("halt")
    max_gas_limit: PositiveInt = 3_000_000
    max_fee_per_gas_wei: PositiveInt = 2_000_000_000_000
    max_bribe_ppm: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    max_transactions_per_minute: PositiveInt = 1_200
    request_timeout_ms: PositiveInt = 2_000
    gate: GateConfig = GateConfig()


def _known_database(url: str) -> str:
    scheme = url.partition("://")[0]
    if scheme not in ("sqlite", "postgresql", "postgresql+psycopg"):
        raise ValueError(
            "is no database for the books; use sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
        )
    if scheme == "sqlite" and url[len("sqlite:///") :] in ("", ":memory:"):
        raise ValueError("an in-memory ledger would be lost; name a file: sqlite:///ledger.db")
    return url


class LedgerConfig(_Section):
    """Where the books are; SQLite by default, PostgreSQL by URL."""

    url: Annotated[str, AfterValidator(_known_database)] = "sqlite:///ledger.db"
    refusal_samples: NonNegativeInt = 20
    retention_days: PositiveInt = 90
    reconcile_every_blocks: NonNegativeInt = 5
    """How often the balances are compared with the books while running; 0: only at the end."""


class PriceConfig(_Section):
    """The named source of USD prices. ``pools`` reads the watched pools against ``stable_tokens``."""

    source: Literal["pools"] = "pools"


class OuroConfig(_Section):
    """Everything that one Ouro instance is told. Relative paths are taken from the file's folder."""

    mode: Mode = Mode.OBSERVE
    data_dir: Path = Path(".ouro")
    ledger: LedgerConfig = LedgerConfig()
    signer: SignerConfig = SignerConfig()
    risk: RiskConfig = RiskConfig()
    prices: PriceConfig = PriceConfig()
    monitoring: MonitoringConfig = MonitoringConfig()
    alerts: AlertsConfig = AlertsConfig()
    dashboard: DashboardConfig = DashboardConfig()
    costs: CostsConfig = CostsConfig()
    capital: CapitalConfig = CapitalConfig()
    chains: Annotated[dict[str, ChainConfig], Field(min_length=1)]

    @model_validator(mode="after")
    def _chains_inherit_limits(self) -> Self:
        chains = {
            name: chain.model_copy(update={"risk": self.risk.with_own(chain.risk)}) if chain.risk else chain
            for name, chain in self.chains.items()
        }
        object.__setattr__(self, "chains", chains)
        return self

    def limits_of(self, chain: str) -> RiskConfig:
        """The limits that hold on ``chain``: its own over the common ones."""
        return self.chains[chain].risk or self.risk

    @model_validator(mode="after")
    def _live_is_complete(self) -> Self:
        self.costs.check_chains(self.chains)
        ids = [chain.chain_id for chain in self.chains.values()]
        if len(set(ids)) != len(ids):
            raise ValueError("chains: two chains have the same chain_id")
        for name in self.signer.gate.chains:
            if name not in self.chains:
                raise ValueError(
                    f"signer.gate.chains.{name}: there is no such chain; there are {', '.join(self.chains)}"
                )
        for name, chain in self.chains.items():
            if chain.bribe.share_ppm > self.signer.max_bribe_ppm:
                raise ValueError(
                    f"chains.{name}: bribe.share_ppm {chain.bribe.share_ppm} is above signer.max_bribe_ppm "
                    f"{self.signer.max_bribe_ppm}; the signer would refuse every trade"
                )
        if self.mode is Mode.OBSERVE:
            return self
        for name, chain in self.chains.items():
            missing = [key for key in ("executor", "owner") if getattr(chain, key) is None]
            if not chain.operators:
                missing.append("operators")
            if missing:
                raise ValueError(f"chains.{name}: {', '.join(missing)} needed in mode {self.mode.value}")
        return self
