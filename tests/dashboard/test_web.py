"""What the page lets whom do, over plain HTTP: no browser is needed to try to get around it."""

import json
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dashboard_site import PASSWORD, Site, Visitor
from example_books import Example, write_example

from ouro.audit import verify
from ouro.control import ControlStore, control_folder


@pytest.fixture
def visitor(site: Site) -> Visitor:
    return Visitor(site)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Example:
    from ouro.dashboard.access import set_password

    made = write_example(tmp_path_factory.mktemp("own") / "a run", trades=0)
    set_password(made.data_dir, PASSWORD)
    return made


@pytest.fixture(scope="module")
def own_site(own: Example) -> Iterator[Site]:
    with Site(own.config) as running:
        yield running


def test_every_answer_has_the_headers(site: Site) -> None:
    for path in ("", "trades", "control", "login", "healthz", "assets/ouro.css", "nothing"):
        headers = site.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_another_name_or_another_sites_page_is_refused(site: Site) -> None:
    assert site.get("", headers={"Host": "evil.example"}).status_code == 421
    assert site.get("", headers={"Origin": "http://evil.example"}).status_code == 403
    answer = httpx.post(site.url + "login", data={}, headers={"Origin": "null"})
    assert answer.status_code == 403
    assert site.get("", headers={"Host": "["}).status_code == 400
    assert site.get("", headers={"Origin": "http://["}).status_code == 400


def test_a_halt_needs_a_login(site: Site, visitor: Visitor, example: Example) -> None:
    answer = visitor.client.post("/control/halt", data={"by": "eve", "why": "for fun", "csrf": "x"})
    assert answer.headers["location"] == "/login"
    assert not ControlStore(control_folder(example.data_dir)).all()


def test_halt_and_resume_are_recorded_with_name_and_reason(own: Example, own_site: Site) -> None:
    visitor = Visitor(own_site)
    answer = visitor.log_in("Ada", PASSWORD)
    assert answer.headers["location"] == "/control"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()

    without_token = visitor.client.post("/control/halt", data={"by": "Ada", "why": "drill", "csrf": "guess"})
    assert without_token.status_code == 403
    assert visitor.post("/control/halt", by="Ada", why=" ").status_code == 400
    assert visitor.post("/control/halt", by="Ada", why="drill", chain="moon").status_code == 400
    store = ControlStore(control_folder(own.data_dir))
    assert not store.all()

    # Whatever name is typed, it is recorded under that of the login.
    assert visitor.post("/control/halt", by="Eve", why="drill", chain="fantom").status_code == 303
    (halt,) = store.all()
    assert (halt.chain, halt.by, halt.why, halt.source) == ("fantom", "Ada", "drill", "person")
    assert "drill" in own_site.get("control").text

    for by, why in (("", "done"), ("Ada", "")):
        assert visitor.post("/control/resume", id=halt.id, by=by, why=why).status_code == 400
        assert store.all(), (by, why)
    assert visitor.post("/control/resume", id=halt.id, by="Ada", why="done").status_code == 303
    assert not store.all()

    report = verify(own.data_dir / "audit")
    assert not report.problems
    lines = [line for path in (own.data_dir / "audit").glob("*.jsonl") for line in path.read_text().splitlines()]
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds[-2:] == ["halt", "resume"]


def test_a_wrong_password_is_slowed_down(own: Example, tmp_path: Path) -> None:
    with Site(own.config) as site:
        visitor = Visitor(site)
        answers = [visitor.log_in("Eve", f"guess {turn}").status_code for turn in range(7)]
        assert answers == [403] * 5 + [429] * 2
        assert visitor.log_in("Ada", PASSWORD).status_code == 429


def test_no_secret_is_in_any_page(site: Site, example: Example, visitor: Visitor) -> None:
    kept = (example.data_dir / "dashboard" / "password").read_text().strip()
    for path in ("", "trades", "system", "control", "capital", "healthz"):
        text = site.get(path).text
        assert PASSWORD not in text
        assert kept not in text
        assert "ws://127.0.0.1:1" not in text  # an endpoint's address may hold a key


def test_the_passwords_file_is_locked_and_a_short_one_is_refused(tmp_path: Path) -> None:
    from ouro.dashboard.access import Password, set_password
    from ouro.dashboard.addresses import DashboardError

    path = set_password(tmp_path, PASSWORD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("$argon2id$")
    password = Password(tmp_path)
    assert password.fits(PASSWORD)
    assert not password.fits(PASSWORD + "!")
    path.chmod(0o644)
    assert "chmod 600" in password.problem()
    assert not password.fits(PASSWORD)
    with pytest.raises(DashboardError, match="too few"):
        set_password(tmp_path, "short")


def test_the_password_command_reads_one_line(own: Example) -> None:
    command = [sys.executable, "-m", "ouro.cli", "dashboard", "password", "-c", str(own.config), "--stdin"]
    done = subprocess.run(command, input=PASSWORD + "\n", capture_output=True, text=True, check=True)
    assert PASSWORD not in done.stdout + done.stderr


def test_a_taken_port_is_one_clear_line(example: Example) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "ouro.cli", "dashboard", "-c", str(example.config), "--listen", listen]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    told = (
        f"ouro: dashboard: {listen} is taken by another program; name another with --listen, or port 0 for a free"
    )
    assert done.stderr.splitlines() == [f"{told} one"]


def test_an_address_that_is_none_is_told(example: Example) -> None:
    command = [sys.executable, "-m", "ouro.cli", "dashboard", "-c", str(example.config), "--listen", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "HOST:PORT" in re.sub(r"\s+", " ", done.stderr.replace("│", ""))


def test_downloads_are_exact_and_harmless_in_a_spreadsheet(site: Site) -> None:
    site.wait_loaded()
    text = site.get("export/trades.csv").text
    assert text.splitlines()[0].startswith("time_utc,chain,strategy,outcome")
    assert len(text.splitlines()) == 121
    for name in ("equity", "funnel", "latency"):
        assert len(site.get(f"export/{name}.csv").text.splitlines()) > 2, name
    assert site.get("export/passwords.csv").status_code == 404
    only = site.get("export/trades.csv?chain=fantom").text.splitlines()[1:]
    assert {line.split(",")[1] for line in only} == {"fantom"}
