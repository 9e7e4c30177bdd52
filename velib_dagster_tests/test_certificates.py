"""Set-up and requests trust what the machine trusts: an authority that only this machine knows, and a uv that fails."""

import ipaddress
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from velib_dagster import certificates
from velib_dagster.certificates import bundle, trust_the_machine

REPOSITORY = Path(__file__).resolve().parents[1]
NOBODY = "/nonexistent/bundle.pem"


def test_a_variable_that_names_a_bundle_comes_before_the_systems(tmp_path: Path) -> None:
    first, second = tmp_path / "first.pem", tmp_path / "second.pem"
    first.write_text("")
    second.write_text("")
    assert bundle({"SSL_CERT_FILE": str(first), "PIP_CERT": str(second)}) == first
    assert bundle({"SSL_CERT_FILE": NOBODY, "PIP_CERT": str(second)}) == second


def test_without_a_variable_it_is_the_systems_own_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / "ca-certificates.crt"
    usual.write_text("")
    nothing = ssl.DefaultVerifyPaths(None, None, "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr(certificates, "_USUAL", (NOBODY, str(usual)))
    assert bundle({}) == usual
    monkeypatch.setattr(certificates, "_USUAL", (NOBODY,))
    environment: dict[str, str] = {}
    trust_the_machine(environment)
    assert environment == {}, "requests keeps its own list where the machine has none"


def test_what_requests_was_told_stays(tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text("")
    environment = {"CURL_CA_BUNDLE": "/mine.pem", "SSL_CERT_FILE": str(other)}
    trust_the_machine(environment)
    assert environment == {"CURL_CA_BUNDLE": "/mine.pem", "SSL_CERT_FILE": str(other)}


@pytest.fixture
def own_authority(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A page over HTTPS on loopback, and the certificate that nobody but its owner trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A company's authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "authority.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = tmp_path / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}/", pem
        server.shutdown()


def test_requests_reaches_a_feed_behind_an_authority_that_the_machine_trusts(own_authority: tuple[str, Path]) -> None:
    url, pem = own_authority
    program = (
        "import sys, requests; from velib_dagster.certificates import trust_the_machine\n"
        "if sys.argv[2] == 'trusting': trust_the_machine()\n"
        "print(requests.get(sys.argv[1], timeout=10).status_code)"
    )
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(("_CA_BUNDLE", "_CERT", "_PROXY", "_proxy"))
    }
    environment = {**kept, "SSL_CERT_FILE": str(pem)}

    def status(how: str) -> str:
        words = [sys.executable, "-c", program, url, how]
        done = subprocess.run(words, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    assert "SSLError" in status("as it comes")
    assert status("trusting") == "200"


UV = """#!/bin/sh
echo "$UV_SYSTEM_CERTS|$SSL_CERT_FILE|$*" >> "$CALLS"
case "$1 $2" in
  "venv "*) mkdir -p .venv/bin; printf '#!/bin/sh\\nexit 0\\n' > .venv/bin/python; chmod +x .venv/bin/python;;
  "pip sync")
    [ -n "$UV_SYSTEM_CERTS$KNOWS" ] || { echo "invalid peer certificate: UnknownIssuer" >&2; exit 2; };;
esac
"""


def set_up(folder: Path, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """`make setup` in a folder of its own, with a uv that knows no authority but the machine's; and its calls."""
    (folder / "bin").mkdir(parents=True)
    uv = folder / "bin" / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    (folder / "Makefile").write_text((REPOSITORY / "Makefile").read_text())
    for name in ("requirements.lock", "pyproject.toml", "calls"):
        (folder / name).write_text("")
    names = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/usr/bin/env", "make", "setup", f"PYTHON={sys.executable}"],
        cwd=folder,
        env={**kept, "PATH": path, "CALLS": str(folder / "calls"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, (folder / "calls").read_text().splitlines()


def test_set_up_tries_the_machines_certificates_where_uvs_own_fail(tmp_path: Path) -> None:
    done, calls = set_up(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "with the certificates that this machine trusts" in done.stdout
    assert [call.split("|")[0] for call in calls] == ["", "", "1", "1"]
    assert calls[-1].startswith("1||pip install")


def test_set_up_leaves_uvs_own_certificates_where_they_do(tmp_path: Path) -> None:
    done, calls = set_up(tmp_path, KNOWS="yes", REQUESTS_CA_BUNDLE="/company.pem")
    assert done.returncode == 0, done.stderr
    assert "Once more" not in done.stdout
    assert {tuple(call.split("|")[:2]) for call in calls} == {("", "/company.pem")}
