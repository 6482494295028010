"""Books, engine files and a configuration as a run leaves them: seeded, of any length, without a chain."""

import hashlib
import itertools
import json
import random
import time
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from ouro.config.load import config_to_toml, load_config
from ouro.ledger.activity import AddBlocks, AddRefusals, LatencyLog, SetPrice
from ouro.ledger.database import migrate, open_engine
from ouro.ledger.entries import balance_entries
from ouro.ledger.operations import JournalAttempt, MarkSent, RecordOpening, RecordOutcome, StartSession
from ouro.ledger.records import Opening, SessionInfo
from ouro.types import Attempt, AttemptKind, FeeBid, Hop, Outcome, OutcomeKind, Plan, Transfer

COIN, GWEI = 10**18, 10**9
SESSION = "5e550000000000000000000000000001"
PRICES = {"ethereum": 1_812.43, "fantom": 0.3071}
SYMBOLS = (
    "WETH",
    "USDC",
    "USDT",
    "DAI",
    "WBTC",
    "LINK",
    "UNI",
    "AAVE",
    "CRV",
    "MKR",
    "SNX",
    "COMP",
    "YFI",
    "SUSHI",
)
DECIMALS = {"USDC": 6, "USDT": 6, "WBTC": 8}
FAMILIES = ("uniswap_v2", "uniswap_v3", "solidly", "curve_stable", "balancer_v2_weighted")
OWNER, EXECUTOR = "0x" + "0e" * 20, "0x" + "ec" * 20
OPERATORS = tuple(f"0x{'0a' * 19}{number:02x}" for number in range(1, 4))
OWNED = frozenset({OWNER, EXECUTOR, *OPERATORS})
_REFUSALS = {
    "not_profitable": 412,
    "preflight_differs": 9,
    "no_free_operator": 31,
    "max_open_attempts": 17,
    "max_notional": 5,
    "stale": 3,
}
_LOST = ("MinProfit(1204, 88)", "StaleBlock(19)", "")


def token(chain: str, symbol: str) -> str:
    """The address that ``symbol`` has here."""
    return "0x" + hashlib.sha256(f"{chain}/{symbol}".encode()).hexdigest()[:40]


def _pool(chain: str, one: str, other: str, family: str) -> str:
    pair = "/".join(sorted((one, other)))
    return "0x" + hashlib.sha256(f"{chain}/{pair}/{family}".encode()).hexdigest()[:40]


@dataclass
class Example:
    """What `write_example` made. ``at_ms`` is the time of the last trade."""

    folder: Path
    config: Path
    engine: Engine
    rng: random.Random
    written: int = 0
    at_ms: int = 0

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def add(self, count: int, *, span_ms: int = 1_000, final: bool = True) -> list[str]:
        """Append ``count`` trades over ``span_ms``; their names."""
        begin, names = self.at_ms, []
        with self.engine.begin() as connection:
            for at in range(count):
                self.at_ms = begin + (at + 1) * span_ms // count
                names.append(self._trade(connection, final=final))
        return names

    def settle(self, name: str, *, at_ms: int | None = None) -> None:
        """Land an open trade."""
        with self.engine.begin() as connection:
            attempt, plan = self._attempt(name), self._plan(int(name.removeprefix("t")))
            self._outcome(connection, attempt, plan, OutcomeKind.LANDED, at_ms or self.at_ms)

    def picture(self, **changes: Any) -> None:
        """Write the engine's files as it would now."""
        folder = self.data_dir / "status"
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time_ns() // 1_000_000
        for number, chain in enumerate(PRICES):
            best = self._plan(self.written * 2 + number)
            values = {
                "chain": chain,
                "process": "running",
                "pid": 4242,
                "mode": "live",
                "at_ms": now,
                "state": "running",
                "detail": "",
                "freshness": "ready",
                "block_number": 24_400_000 + self.written,
                "block_age_ms": 180,
                "pools": 46,
                "cycles": 3_812,
                "blocks": self.written,
                "superseded": 1,
                "opportunities": 900,
                "open_attempts": 1,
                "best": "",
                "best_pools": [],
            } | changes
            if best.chain == chain:
                route = " → ".join(_symbol(chain, hop.token_in) for hop in best.hops)
                values |= {
                    "best": f"{best.expected_net_native_wei / COIN:+.6f} {route}",
                    "best_pools": list(best.pools),
                }
            (folder / f"{chain}.json").write_text(json.dumps(values))
            (folder / f"{chain}.pools.json").write_text(
                json.dumps(_pools(chain, best if best.chain == chain else None))
            )

    def _trade(self, connection: Connection, *, final: bool) -> str:
        number, rng = self.written, self.rng
        self.written += 1
        plan, attempt = self._plan(number), self._attempt(f"t{number:06d}")
        decided = int(rng.lognormvariate(8.1, 0.45))
        JournalAttempt(SESSION, attempt, plan, self.at_ms, decided, decided + 900).apply(connection)
        MarkSent(attempt.attempt_id, self.at_ms + 2, decided + 2_300).apply(connection)
        if final:
            kind = rng.choices(
                (OutcomeKind.LANDED, OutcomeKind.LOST, OutcomeKind.REVERTED, OutcomeKind.EXPIRED), (90, 6, 1, 3)
            )[0]
            self._outcome(connection, attempt, plan, kind, self.at_ms + 900)
        return attempt.attempt_id

    def _attempt(self, name: str) -> Attempt:
        number = int(name.removeprefix("t"))
        plan = self._plan(number)
        digest = hashlib.sha256(name.encode()).hexdigest()
        return Attempt(
            name,
            plan.plan_id,
            plan.chain,
            AttemptKind.TRADE,
            OPERATORS[number % 3],
            number,
            "0x" + digest,
            b"\x02" + digest.encode(),
            "public",
            plan.max_block_number,
        )

    def _plan(self, number: int) -> Plan:
        return _plan(number)

    def _outcome(self, connection: Connection, attempt: Attempt, plan: Plan, kind: OutcomeKind, at_ms: int) -> None:
        landed, included = kind is OutcomeKind.LANDED, kind is not OutcomeKind.EXPIRED
        price = plan.fee.max_fee_per_gas_wei
        used = plan.expected_gas - self.rng.randrange(4_000) if landed else 64_000
        native = plan.profit_token
        outcome = Outcome(
            attempt_id=attempt.attempt_id,
            kind=kind,
            block_number=plan.max_block_number if included else None,
            block_hash="0x" + "0b" * 32 if included else None,
            gas_used=used if included else 0,
            gas_cost_wei=used * price if included else 0,
            realised_profit_wei=plan.gross_profit_wei if landed else 0,
            realised_amounts_wei=(*(hop.amount_in_wei for hop in plan.hops), plan.hops[-1].amount_out_wei)
            if landed
            else (),
            transfers=(Transfer(native, plan.hops[-1].pool, OWNER, plan.gross_profit_wei),) if landed else (),
            reason="" if landed else self.rng.choice(_LOST),
        )
        entries = balance_entries(outcome, attempt.operator, OWNED) if included else ()
        RecordOutcome(outcome, entries, at_ms).apply(connection)


@lru_cache(maxsize=4_096)
def _plan(number: int) -> Plan:
    rng = random.Random(number)
    chain = "ethereum" if number % 2 == 0 else "fantom"
    hops = rng.choices((2, 3, 4), (5, 4, 1))[0]
    others = rng.sample(SYMBOLS[1:], hops - 1)
    path = ["WETH", *others, "WETH"]
    scale = 1 if chain == "ethereum" else 4_000
    amount = int(rng.uniform(0.4, 6) * scale * COIN)
    gross = int(amount * rng.lognormvariate(-6.6, 0.8))
    amounts = [amount]
    amounts += [int(amount * rng.uniform(0.8, 3) / 10 ** (18 - DECIMALS.get(symbol, 18))) for symbol in others]
    amounts.append(amount + gross)
    made = []
    for at, (one, other) in enumerate(itertools.pairwise(path)):
        family = rng.choice(FAMILIES)
        if hops == 2:
            family = FAMILIES[(at + number) % len(FAMILIES)]
        made.append(
            Hop(
                _pool(chain, one, other, family),
                family,
                token(chain, one),
                token(chain, other),
                0,
                1,
                amounts[at],
                amounts[at + 1],
            )
        )
    price = 7 * GWEI if chain == "ethereum" else 60 * GWEI
    gas = 110_000 + 62_000 * hops
    return Plan(
        plan_id=f"p{number:06d}",
        chain=chain,
        hops=tuple(made),
        profit_token=token(chain, "WETH"),
        gross_profit_wei=gross,
        min_profit_wei=1,
        value_native_wei=gross,
        gas_limit=gas + 90_000,
        expected_gas=gas,
        fee=FeeBid(price, 2 * GWEI, legacy=False),
        expected_net_native_wei=gross - gas * price,
        found_at_number=24_400_000 + number,
        found_at_hash="0x" + "ab" * 32,
        max_block_number=24_400_001 + number,
        lane="public",
        calldata=bytes(160),
    )


def _symbol(chain: str, address: str) -> str:
    return next((symbol for symbol in SYMBOLS if token(chain, symbol) == address), address[:8])


def _pools(chain: str, best: Plan | None) -> dict[str, Any]:
    rng = random.Random(chain)
    pairs = [("WETH", symbol) for symbol in SYMBOLS[1:]] + [("USDC", "USDT"), ("USDC", "DAI"), ("DAI", "LINK")]
    pairs += [tuple(rng.sample(SYMBOLS, 2)) for _ in range(14)]
    rows = [
        {
            "pool": _pool(chain, one, other, family),
            "family": family,
            "tokens": [token(chain, one), token(chain, other)],
            "fee_ppm": 3_000,
        }
        for one, other in dict.fromkeys(pairs)
        for family in rng.sample(FAMILIES, rng.choice((1, 2, 3)))
    ]
    shown = {row["pool"] for row in rows}
    rows += [
        {"pool": hop.pool, "family": hop.family, "tokens": [hop.token_in, hop.token_out], "fee_ppm": 3_000}
        for hop in (best.hops if best else ())
        if hop.pool not in shown
    ]
    tokens = {token(chain, symbol): {"symbol": symbol, "decimals": DECIMALS.get(symbol, 18)} for symbol in SYMBOLS}
    return {"pools": rows, "tokens": tokens, "of": len(rows)}


def write_example(folder: Path, *, trades: int, hours: float = 6.0) -> Example:
    """Two chains in mode live with ``trades`` attempts over the last ``hours``."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(folder)
    engine = open_engine(load_config(config).ledger.url, write=True)
    migrate(engine, "example")
    now = time.time_ns() // 1_000_000
    example = Example(folder, config, engine, random.Random(7), at_ms=now - round(hours * 3_600_000))
    with engine.begin() as connection:
        StartSession(SessionInfo(SESSION, "live", "c0ffee", "0.1.0", example.at_ms, now, None)).apply(connection)
        for number, (chain, price) in enumerate(PRICES.items()):
            _counted(connection, chain, price, trades, number, example.rng)
            for operator in OPERATORS:
                opening = Opening(chain, operator, None, 24_399_999, 5 * COIN)
                RecordOpening(SESSION, opening).apply(connection)
            for token_address in (None, token(chain, "WETH")):
                RecordOpening(SESSION, Opening(chain, OWNER, token_address, 24_399_999, 40 * COIN)).apply(
                    connection
                )
    if trades:
        example.add(trades, span_ms=round(hours * 3_600_000) - 5_000)
    example.picture()
    return example


def _counted(
    connection: Connection, chain: str, price: float, trades: int, number: int, rng: random.Random
) -> None:
    SetPrice(SESSION, chain, repr(price), "pools").apply(connection)
    blocks = max(2 * trades, 40)
    AddBlocks(
        SESSION,
        chain,
        time.time_ns() // 1_000_000,
        blocks,
        blocks - 3,
        trades + 700,
        46,
        3_812,
        24_400_000 + trades,
    ).apply(connection)
    samples = array("I", (int(rng.lognormvariate(8.1 + number / 4, 0.4)) for _ in range(min(blocks, 4_096))))
    LatencyLog(SESSION, chain, samples).apply(connection)
    hour = time.time_ns() // 3_600_000_000_000
    for reason, times in _REFUSALS.items():
        AddRefusals(SESSION, chain, reason, hour, times, [(hour * 3_600_000, "p", "an example")]).apply(connection)


def _config(folder: Path) -> Path:
    path = folder / "ouro.toml"
    chains: dict[str, Any] = {}
    for chain_id, chain in ((9_300_001, "ethereum"), (9_300_250, "fantom")):
        scale = 1 if chain == "ethereum" else 2_000
        chains[chain] = {
            "chain_id": chain_id,
            "endpoints": ["ws://127.0.0.1:1"],
            "block_time_ms": 1_000,
            "wrapped_native": token(chain, "WETH"),
            "multicall": "0x" + "ca" * 20,
            "executor": EXECUTOR,
            "owner": OWNER,
            "operators": list(OPERATORS),
            "dexes": [{"name": "v2", "family": "uniswap_v2", "factory": "0x" + "fa" * 20, "fee_ppm": 3_000}],
            "risk": {"max_daily_loss_wei": 2 * scale * COIN, "max_wasted_gas_per_hour_wei": scale * COIN // 2},
        }
    from ouro.config.model import OuroConfig

    config = OuroConfig.model_validate(
        {
            "mode": "live",
            "data_dir": folder / "data",
            "ledger": {"url": f"sqlite:///{folder / 'ledger.db'}"},
            "dashboard": {
                "coins": {"ethereum": "ETH", "fantom": "FTM"},
                "explorers": {"ethereum": "https://etherscan.io"},
            },
            "chains": chains,
        }
    )
    path.write_text(config_to_toml(config))
    return path
