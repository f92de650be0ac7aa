"""SIGHUP while a server starts: it must not end what it asks to read its methods again."""

import pathlib
import signal
import subprocess
import sys
import threading

from support import live_server, site

_SIGHUP_BIT = 1 << (signal.SIGHUP - 1)


def _set_for_sighup(pid: int) -> str:
    """Whether the process ignores (SigIgn) or catches (SigCgt) SIGHUP; empty: it would end it."""
    fields = dict(
        line.split(":\t", 1)
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    found = [name for name in ("SigIgn", "SigCgt") if int(fields[name], 16) & _SIGHUP_BIT]
    return "".join(found)


def test_a_server_that_is_told_to_reload_while_it_starts_serves_all_the_same(
    tmp_path: pathlib.Path,
) -> None:
    methods_dir = site.write(tmp_path)
    command = [
        *(sys.executable, "-m", "dshpc_server", "serve", "--listen=127.0.0.1:0"),
        *(f"--data-dir={tmp_path / 'data'}", f"--methods-dir={methods_dir}", "--log-level=error"),
    ]
    started = threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        # Caught only once the loop runs: it is to be ignored long before, while modules are loaded.
        first = live_server.wait_for(lambda: _set_for_sighup(server.pid), "SIGHUP to be harmless")

        def pester() -> None:
            while not started.wait(0.01):
                server.send_signal(signal.SIGHUP)

        pestering = threading.Thread(target=pester)
        pestering.start()
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("listening on ")
        finally:
            started.set()
            pestering.join()
            server.terminate()
        assert first == "SigIgn"
        assert server.wait(live_server.STOP_SECONDS) == 0
    live_server.wait_until_gone(tmp_path / "data")
