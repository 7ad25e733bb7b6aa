"""Certificates for tests, made by `openssl`: an authority, a server's, a client's, and one of nobody's authority."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """Files of a certificate and its key."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Certificates:
    """*server* and *client* are of *authority*; *server* is good for `localhost` alone."""

    authority: Path
    server: Certificate
    client: Certificate
    self_signed: Certificate


def make_certificates(folder: Path) -> Certificates:
    """Make them in *folder*; skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH")
    authority = _self_signed(folder, "authority")
    return Certificates(
        authority=authority.cert,
        server=_signed(folder, "server", authority),
        client=_signed(folder, "client", authority),
        self_signed=_self_signed(folder, "nobody", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    )


def _self_signed(folder: Path, name: str, *more: str) -> Certificate:
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl("req", "-x509", *_new_key(made), "-out", made.cert, "-subj", f"/CN={name}", "-days", "3650", *more)
    return made


def _signed(folder: Path, name: str, authority: Certificate) -> Certificate:
    made, request, names = Certificate(folder / f"{name}.pem", folder / f"{name}.key"), folder / name, folder / "names"
    names.write_text("subjectAltName=DNS:localhost\n")
    _openssl("req", *_new_key(made), "-out", request, "-subj", f"/CN={name}")
    signing = ("-CA", authority.cert, "-CAkey", authority.key, "-CAcreateserial", "-extfile", names, "-days", "3650")
    _openssl("x509", "-req", "-in", request, "-out", made.cert, *signing)
    return made


def _new_key(made: Certificate) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", made.key)


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for each in arguments:
        if isinstance(each, Path) and each.suffix == ".key":
            each.chmod(0o600)
