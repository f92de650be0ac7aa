"""The command line of the server: every setting is a flag, and what is wrong is one clear line."""

import pytest

import dshpc
from dshpc_server import __main__, config


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
