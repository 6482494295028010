"""What all chains together may have in flight and lose. Kept where every transaction passes, so it is exact. Pure.

A trade reserves its share when it is signed and gives it back when its outcome is reported. A process that dies
takes nothing with it: what it had in flight stays reserved until whoever follows it accounts for each attempt.
Amounts are millionths of a USD and gwei, so that they fit into the 64 bits of a message.
"""

from collections.abc import Collection
from dataclasses import dataclass

from ouro.config.gate import GateConfig
from ouro.signer.messages import Refusal, SignRequest

_GWEI_PER_COIN = 10**9
_WEI_PER_GWEI = 10**9
_DAY_NS = 86_400 * 10**9
MICRO = 1_000_000
_MOST_MICRO = 2**62


@dataclass(frozen=True, slots=True)
class Reservation:
    """One trade in flight."""

    chain: str
    notional_usd_micro: int
    gas_usd_micro: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Left:
    """What may still be used; None where there is no limit."""

    open_attempts: int
    notional_usd_micro: int | None
    gas_usd_micro: int | None
    loss_usd_micro: int | None


def gas_gwei(request: SignRequest) -> int:
    """The most that ``request`` can pay for gas, rounded up."""
    return -(-request.gas_limit * request.max_fee_per_gas_wei // _WEI_PER_GWEI)


def usd_micro(amount_gwei: int, price_usd_micro: int) -> int:
    """``amount_gwei`` of a coin at ``price_usd_micro`` a coin, rounded up (away from us)."""
    return -(-amount_gwei * price_usd_micro // _GWEI_PER_COIN)


class Budget:
    """Reservations over all chains, by transaction hash."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._open: dict[str, Reservation] = {}
        self._settled: dict[str, tuple[Reservation, int]] = {}
        self._notional = self._gas = 0
        self._lost_by_day: dict[int, int] = {}
        self._prices: dict[str, int] = {}

    @property
    def open_attempts(self) -> int:
        """Trades in flight."""
        return len(self._open)

    def price_of(self, chain: str) -> int:
        """The last price that was told, in millionths of a USD a coin; 0 without one."""
        return self._prices.get(chain, 0)

    def reservation(self, request: SignRequest, now_ns: int) -> Reservation:
        """What ``request`` would reserve."""
        price = request.native_usd_micro
        return Reservation(
            request.chain, usd_micro(request.notional_gwei, price), usd_micro(gas_gwei(request), price), now_ns
        )

    def check(self, request: SignRequest, wanted: Reservation) -> Refusal | None:
        """None when ``wanted`` fits beside everything in flight."""
        config = self._config
        if max(wanted.notional_usd_micro, request.native_usd_micro) > _MOST_MICRO:
            return Refusal("malformed", "notional_gwei or native_usd_micro is beyond all sense")
        if len(self._open) + 1 > config.max_open_attempts:
            return _over("open_attempts", len(self._open), config.max_open_attempts, "attempts", 1)
        limits = (config.max_open_notional_usd, config.max_open_gas_usd, config.max_daily_loss_usd)
        if any(limit is not None for limit in limits) and request.native_usd_micro <= 0:
            return Refusal("no_price", f"{request.chain}: USD limits are set and the request tells no price")
        left = self.left(wanted.at_ns)
        for name, used, room in (
            ("open_notional", wanted.notional_usd_micro, left.notional_usd_micro),
            ("open_gas", wanted.gas_usd_micro, left.gas_usd_micro),
            ("daily_loss", wanted.gas_usd_micro, left.loss_usd_micro),
        ):
            if room is not None and used > room:
                asked, free = used / MICRO, max(room, 0) / MICRO
                detail = (
                    f"{asked:.2f} USD are asked, {free:.2f} are left over all chains (signer.gate.max_{name}_usd)"
                )
                return Refusal(f"global_{name}", detail)
        return None

    def reserve(self, tx_hash: str, reservation: Reservation, price_usd_micro: int) -> None:
        """``tx_hash`` is in flight."""
        if price_usd_micro > 0:
            self._prices[reservation.chain] = price_usd_micro
        if tx_hash not in self._open:
            self._open[tx_hash] = reservation
            self._notional += reservation.notional_usd_micro
            self._gas += reservation.gas_usd_micro

    def settle(self, chain: str, tx_hash: str, net_gwei: int, now_ns: int) -> bool:
        """It has a final outcome; False when it was not in flight on ``chain``."""
        reservation = self._open.get(tx_hash)
        if reservation is None or reservation.chain != chain:
            return False
        del self._open[tx_hash]
        self._notional -= reservation.notional_usd_micro
        self._gas -= reservation.gas_usd_micro
        lost = -net_gwei * self.price_of(chain) // _GWEI_PER_COIN
        self._lost(now_ns, lost)
        self._settled[tx_hash] = (reservation, lost)
        while len(self._settled) > 4_096:
            self._settled.pop(next(iter(self._settled)))
        return True

    def reopen(self, chain: str, tx_hash: str, now_ns: int) -> bool:
        """Its outcome was withdrawn (reorg)."""
        reservation, lost = self._settled.pop(tx_hash, (None, 0))
        if reservation is None or reservation.chain != chain:
            return False
        self._lost(now_ns, -lost)
        self.reserve(tx_hash, reservation, 0)
        return True

    def drop_unknown(self, chains: Collection[str]) -> list[tuple[str, Reservation]]:
        """Forget what is in flight on chains that are not among ``chains``; what it was."""
        gone = [(tx_hash, held) for tx_hash, held in self._open.items() if held.chain not in chains]
        for tx_hash, held in gone:
            del self._open[tx_hash]
            self._notional -= held.notional_usd_micro
            self._gas -= held.gas_usd_micro
        return gone

    def left(self, now_ns: int) -> Left:
        """What is free now. Losses count from today's first (UTC); a profit is no allowance."""
        config = self._config
        lost = max(0, self._lost_by_day.get(now_ns // _DAY_NS, 0))
        return Left(
            config.max_open_attempts - len(self._open),
            _room(config.max_open_notional_usd, self._notional),
            _room(config.max_open_gas_usd, self._gas),
            _room(config.max_daily_loss_usd, lost + self._gas),
        )

    def outstanding(self, chain: str, before_ns: int) -> tuple[str, ...]:
        """Hashes in flight on ``chain`` since before then."""
        return tuple(name for name, held in self._open.items() if held.chain == chain and held.at_ns <= before_ns)

    def dump(self) -> dict[str, object]:
        """Everything that has to survive a change of the log's file."""
        opened = {
            name: [held.chain, held.notional_usd_micro, held.gas_usd_micro, held.at_ns]
            for name, held in self._open.items()
        }
        lost = {str(day): amount for day, amount in self._lost_by_day.items()}
        settled = {
            name: [held.chain, held.notional_usd_micro, held.gas_usd_micro, held.at_ns, lost_micro]
            for name, (held, lost_micro) in self._settled.items()
        }
        return {"open": opened, "lost": lost, "prices": self._prices, "settled": settled}

    def load(self, state: dict[str, object]) -> None:
        """What ``dump`` gave."""
        opened, lost, prices = state["open"], state["lost"], state["prices"]
        assert isinstance(opened, dict)
        assert isinstance(lost, dict)
        assert isinstance(prices, dict)
        for name, (chain, notional, gas, at_ns) in opened.items():
            self.reserve(name, Reservation(chain, notional, gas, at_ns), 0)
        settled = state.get("settled", {})  # files of before have none
        assert isinstance(settled, dict)
        for name, (chain, notional, gas, at_ns, lost_micro) in settled.items():
            self._settled[name] = Reservation(chain, notional, gas, at_ns), lost_micro
        self._lost_by_day = {int(day): amount for day, amount in lost.items()}
        self._prices = dict(prices)

    def _lost(self, now_ns: int, amount: int) -> None:
        day = now_ns // _DAY_NS
        self._lost_by_day = {kept: lost for kept, lost in self._lost_by_day.items() if kept >= day - 2}
        self._lost_by_day[day] = self._lost_by_day.get(day, 0) + amount


def _room(limit_usd: int | None, used_micro: int) -> int | None:
    return None if limit_usd is None else limit_usd * MICRO - used_micro


def _over(name: str, used: int, limit: int, unit: str, asked: int) -> Refusal:
    detail = f"{used} {unit} are in flight over all chains, {asked} more is asked, {limit} are allowed"
    return Refusal(f"global_{name}", f"{detail} (signer.gate.max_{name})")
