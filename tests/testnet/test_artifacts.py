"""Contract packages: the lock, the verified cache, and the bytecode being the one that mainnet runs."""

import base64
import hashlib
import io
import json
import tarfile
import threading
from pathlib import Path

import pytest

from ouro.hashing import keccak
from ouro.testnet import artifacts
from ouro.testnet.artifacts import ArtifactError, Package, artifact, normalise, read_lock

UNISWAP_V2_PAIR = "96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f"
SUSHI_PAIR = "e18a34eb0e04b04f7a0ac29a6e80748dca96319b42c54d679cb821dca90c6303"
UNISWAP_V3_POOL = "e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54"


def make_tarball(folder: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


def package_for(tarball: Path, files: dict[str, bytes]) -> Package:
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    wanted = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return Package("@some/contracts", "1.0.0", f"sha512-{digest}", wanted)


@pytest.fixture
def offline_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own and an npm that would find nothing: whatever works now works off-line."""
    monkeypatch.setenv("OURO_CACHE", str(tmp_path / "a cache"))
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    return tmp_path / "a cache" / "contracts"


def serve(monkeypatch: pytest.MonkeyPatch, tarball: Path) -> None:
    def pack(spec: str, folder: Path) -> Path:
        copy = folder / "delivered.tgz"
        copy.write_bytes(tarball.read_bytes())
        return copy

    monkeypatch.setattr(artifacts, "npm_pack", pack)


def test_every_locked_contract_has_code() -> None:
    for package in read_lock():
        for path in package.files:
            loaded = artifact(package.name, path)
            assert len(loaded.bytecode) > 500, path
            assert any(entry["type"] == "function" for entry in loaded.abi)
            assert loaded.link_references == {}


def test_init_code_hashes_are_those_of_mainnet() -> None:
    pair = artifact("@uniswap/v2-core", "build/UniswapV2Pair.json").bytecode
    pool = artifact("@uniswap/v3-core", "artifacts/contracts/UniswapV3Pool.sol/UniswapV3Pool.json").bytecode
    assert keccak(pair).hex() == UNISWAP_V2_PAIR
    assert keccak(pool).hex() == UNISWAP_V3_POOL


def test_routers_compute_the_pair_addresses_of_their_factories() -> None:
    uniswap = artifact("@uniswap/v2-periphery", "build/UniswapV2Router02.json").bytecode
    sushi = artifact("@sushiswap/sushiswap", "deployments/arbitrum/UniswapV2Router02.json").bytecode
    bsc_pair = artifact("@bscswap/contracts", "build/BSCswapPair.json").bytecode
    bsc_router = artifact("@bscswap/contracts", "build/BSCswapRouter.json").bytecode
    assert bytes.fromhex(UNISWAP_V2_PAIR) in uniswap
    assert bytes.fromhex(SUSHI_PAIR) in sushi
    assert keccak(bsc_pair) in bsc_router


def test_factories_embed_their_pairs() -> None:
    for package, factory, pair in (
        ("@uniswap/v2-core", "build/UniswapV2Factory.json", "build/UniswapV2Pair.json"),
        ("@pancakeswap-libs/pancake-swap-core", "build/PancakeFactory.json", "build/PancakePair.json"),
    ):
        assert artifact(package, pair).bytecode in artifact(package, factory).bytecode


def test_fetch_verifies_and_is_idempotent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline_npm: Path
) -> None:
    files = {"build/A.json": b'{"a": 1}'}
    members = {"package/build/A.json": files["build/A.json"], "package/../../evil": b"x", "package/other": b"y"}
    tarball = make_tarball(tmp_path, members)
    package = package_for(tarball, files)
    serve(monkeypatch, tarball)
    said: list[str] = []
    assert artifacts.fetch(said.append, [package]) == offline_npm
    stored = offline_npm / "@some/contracts@1.0.0" / "build/A.json"
    assert stored.read_bytes() == files["build/A.json"]
    assert sorted(p.name for p in offline_npm.rglob("*") if p.is_file()) == ["A.json"]
    assert artifacts.fetch(said.append, [package]) == offline_npm
    assert said == ["fetching @some/contracts@1.0.0"]
    stored.write_bytes(b"truncat")
    artifacts.fetch(said.append, [package])
    assert stored.read_bytes() == files["build/A.json"]


def test_altered_tarball_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline_npm: Path) -> None:
    tarball = make_tarball(tmp_path, {"package/A.json": b"{}"})
    package = package_for(tarball, {"A.json": b"{}"})
    tarball.write_bytes(tarball.read_bytes() + b"\0")
    serve(monkeypatch, tarball)
    with pytest.raises(ArtifactError, match=r"@some/contracts@1\.0\.0: tarball is sha512-"):
        artifacts.fetch(None, [package])
    assert not list(offline_npm.rglob("A.json"))


@pytest.mark.parametrize(
    ("members", "links", "message"),
    [
        ({"package/B.json": b"{}"}, {}, "has no A.json"),
        ({}, {"package/A.json": "/etc/passwd"}, "not a plain file"),
        ({"package/A.json": b"[]"}, {}, r"differs from contracts\.lock"),
    ],
)
def test_hostile_packages_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    offline_npm: Path,
    members: dict[str, bytes],
    links: dict[str, str],
    message: str,
) -> None:
    tarball = make_tarball(tmp_path, members, links)
    serve(monkeypatch, tarball)
    with pytest.raises(ArtifactError, match=message):
        artifacts.fetch(None, [package_for(tarball, {"A.json": b"{}"})])
    assert not [p for p in offline_npm.rglob("*") if p.is_file()]


@pytest.mark.parametrize("name", ["../x.json", "/etc/x.json", "a/../../x.json", "a\\b.json", ""])
def test_lock_with_a_path_outside_is_refused(tmp_path: Path, name: str) -> None:
    lock = tmp_path / "contracts.lock"
    entry = {"name": "p", "version": "1", "integrity": "sha512-x", "files": {name: "0"}}
    lock.write_text(json.dumps({"packages": [entry]}))
    with pytest.raises(ArtifactError, match="not a plain path"):
        read_lock(lock)


def test_malformed_lock_names_the_file(tmp_path: Path) -> None:
    lock = tmp_path / "contracts.lock"
    lock.write_text('{"packages": [{"name": "p"')
    with pytest.raises(ArtifactError, match=r"contracts\.lock: not a readable contract lock"):
        read_lock(lock)


def test_offline_without_cache_says_what_to_do(offline_npm: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"could not fetch it .* connect to the network and repeat `make setup`"
    ):
        artifacts.fetch(None, read_lock()[:1])


def test_not_fetched_says_what_to_do(offline_npm: Path) -> None:
    with pytest.raises(ArtifactError, match="not fetched yet; run `make setup`"):
        artifact("@uniswap/v2-core", "build/UniswapV2Pair.json")
    with pytest.raises(ArtifactError, match=r"not in contracts\.lock"):
        artifact("@uniswap/v2-core", "build/Nothing.json")


def test_two_fetches_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline_npm: Path) -> None:
    files = {f"build/{n}.json": bytes([n]) * 100_000 for n in range(8)}
    tarball = make_tarball(tmp_path, {f"package/{name}": data for name, data in files.items()})
    package = package_for(tarball, files)
    serve(monkeypatch, tarball)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            artifacts.fetch(None, [package])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    stored = {p.name: p.read_bytes() for p in offline_npm.rglob("*") if p.is_file()}
    assert stored == {Path(name).name: data for name, data in files.items()}


@pytest.mark.parametrize(
    "raw",
    [
        {"abi": [], "bytecode": "6001", "evm": {"bytecode": {"object": "6001"}}},
        {"abi": [], "evm": {"bytecode": {"object": "6001"}}},
        {"abi": [], "bytecode": "0x6001", "deployedBytecode": "0x", "linkReferences": {}},
        {"abi": [], "bytecode": {"object": "0x6001", "linkReferences": {}}},
        {"abi": [], "bytecode": "0x6001", "deployed_bytecode": "0x6002"},
    ],
)
def test_formats(raw: dict[str, object]) -> None:
    assert normalise(raw, "here").bytecode == b"\x60\x01"


def test_link_references_survive() -> None:
    links = {"lib.sol": {"Lib": [{"start": 1, "length": 20}]}}
    loaded = normalise({"abi": [], "bytecode": "0x73__$" + "a" * 34 + "$__00", "linkReferences": links}, "here")
    assert loaded.bytecode == b"\x73" + bytes(21)
    assert loaded.link_references == links


@pytest.mark.parametrize("code", [None, "0x", "", "0xzz", {"object": None}])
def test_no_code_is_an_error(code: object) -> None:
    with pytest.raises(ArtifactError, match=r"^here: "):
        normalise({"abi": [], "bytecode": code}, "here")
