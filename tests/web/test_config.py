"""Who is let in: loopback, or other machines with credentials."""

from pathlib import Path

import pytest

from t2i.errors import ConfigError
from t2i.web.config import Serve


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_no_credentials(host: str) -> None:
    Serve(host=host).validate()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_other_machines_are_let_in_only_with_credentials(host: str) -> None:
    with pytest.raises(ConfigError, match=r"use serve\.credentials=<file>"):
        Serve(host=host).validate()
    Serve(host=host, credentials="login").validate()


@pytest.mark.parametrize("name", ["*", "*.example.org", "http://example.org", ""])
def test_only_whole_names_are_trusted(name: str) -> None:
    Serve(hosts=["lab.example.org"]).validate()
    with pytest.raises(ConfigError, match="is no name of a host"):
        Serve(hosts=[name]).validate()


@pytest.mark.parametrize("text", ["", "ada", ":correct horse", "ada:short", "ada:correct horse\nbob:battery staple"])
def test_a_credentials_file_without_one_user_and_password_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "login"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="does not hold one line user:password"):
        Serve(credentials=str(path)).login()


def test_a_credentials_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "login"
    path.write_text("ada:correct: horse\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Serve(credentials=str(path)).login()
    path.chmod(0o600)
    assert Serve(credentials=str(path)).login() == "ada:correct: horse"
    with pytest.raises(ConfigError, match="is not a file"):
        Serve(credentials=str(tmp_path / "nothing")).login()
