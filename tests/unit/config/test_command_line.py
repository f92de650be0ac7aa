"""The command line of the server: every setting is a flag, and what is wrong is one clear line."""

import pathlib

import pytest

import dshpc
from dshpc_server import __main__, app, config, logs


def test_every_setting_is_a_flag_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(["serve", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for name, field in config.Settings.model_fields.items():
        assert f"--{name.replace('_', '-')} " in shown
        assert str(field.description) in shown


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dshpc-server {dshpc.__version__}\n"


def test_a_value_that_does_not_fit_is_one_line_and_exit_code_78(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert __main__.main(["serve", "--slots", "abc"]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dshpc-server: slots: ")
    assert len(err.splitlines()) == 1


def test_a_settings_file_that_is_not_there_is_one_line_and_exit_code_78(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert __main__.main(["serve", "--config", "absent.toml"]) == 78
    assert capsys.readouterr().err == "dshpc-server: absent.toml: no such file\n"


def test_listening_beyond_loopback_without_leave_is_one_line_and_exit_code_78(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert __main__.main(["serve", "--listen", "0.0.0.0:0"]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dshpc-server: listen: 0.0.0.0:0 ")
    assert len(err.splitlines()) == 1


def test_a_password_with_an_at_sign_is_refused_and_no_part_of_it_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert __main__.main(["serve", "--store", "postgresql://dshpc:open@sesame@127.0.0.1/x"]) == 78
    err = capsys.readouterr().err
    assert "store: a second @ in the URL" in err
    assert "%40" in err
    assert "open" not in err
    assert "sesame" not in err


@pytest.mark.parametrize(
    "store",
    ["", "postgresql://dshpc:open%40sesame@h/x", "postgresql://dshpc@/x?host=/run/@pg&user=a@b"],
)
def test_other_urls_of_a_store_are_left_to_the_store(store: str) -> None:
    assert config.load(None, {"store": store}).store == store


def test_a_folder_that_may_not_be_read_is_one_line_and_exit_code_78(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    async def refused(_: config.Settings) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "files"))

    monkeypatch.setattr(app, "serve", refused)
    monkeypatch.setattr(logs, "configure", lambda **_: None)
    assert __main__.main(["serve"]) == 78
    assert capsys.readouterr().err == (
        f"dshpc-server: serve cannot go on: [Errno 13] Permission denied: '{tmp_path / 'files'}'\n"
    )


def test_leave_can_be_taken_back_by_a_flag(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSHPC_ALLOW_REMOTE", "true")
    assert __main__.main(["serve", "--listen", "0.0.0.0:0", "--no-allow-remote"]) == 78
    assert "--allow-remote" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--nonsense", "--slot", "--memory"])
def test_a_flag_that_does_not_exist_or_is_cut_short_is_exit_code_2(
    capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(["serve", flag, "1"])
    assert ended.value.code == 2
    assert flag in capsys.readouterr().err
