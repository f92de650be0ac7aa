"""A component that is asked for must not be skipped."""

import pytest

from support import component


def test_an_absent_component_is_skipped_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DSHPC_TEST_REQUIRE", "slurm,rscript")
    with pytest.raises(pytest.skip.Exception, match="grpcurl is absent; to install it: make tools"):
        component.require("grpcurl", present=False)


def test_an_absent_component_that_is_asked_for_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSHPC_TEST_REQUIRE", "slurm, grpcurl")
    with pytest.raises(pytest.fail.Exception, match="DSHPC_TEST_REQUIRE asks for it"):
        component.require("grpcurl", present=False)


def test_a_present_component_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSHPC_TEST_REQUIRE", "python3")
    component.require("python3", present=True)
    assert component.path("python3").endswith("python3")


def test_a_name_that_nobody_knows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSHPC_TEST_REQUIRE", "abacus")
    with pytest.raises(ValueError, match="unknown components: abacus"):
        component.require("grpcurl", present=False)
