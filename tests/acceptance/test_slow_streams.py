"""A reader that takes one message of a large batch at a time costs the server no memory.

`make soak-stream` reads 100,000 rows (`DSHPC_TEST_STREAM_ROWS`) and prints what each cost.
"""

import os
import pathlib
import threading

import grpc
import pytest

from dshpc.v1 import types_pb2
from support import calls, live_server, resuming, site

ROWS = int(os.environ.get("DSHPC_TEST_STREAM_ROWS", "3000"))
OUTPUT_BYTES = 60_000
"""Below what is answered inline, so that it stands in each row."""
JOBS = 20
ROWS_PER_LOOK = max(1, ROWS // 10)
MAX_GROWTH_KIB = 24 * 1024
"""While 180 MB pass, even in the short form. What grows with the rows would be seen."""
PAUSE_SECONDS = 0.001
SECONDS = 3600 if ROWS > 10_000 else 300


def resident_kib(pid: int) -> int:
    """Memory that a process uses now."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("transitions", [False, True])
def test_memory_stays_flat_while_a_slow_reader_gets_every_row(
    tmp_path: pathlib.Path, *, transitions: bool
) -> None:
    methods_dir = site.write(tmp_path / "site")
    limits = {"max_jobs_per_request": ROWS, "max_request_bytes": 64 << 20}
    with (
        live_server.as_process(tmp_path, methods_dir, **limits) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        size = service.upload(b"sized\n")
        configs = [
            calls.config("big", size, {"bytes": OUTPUT_BYTES + row % JOBS}) for row in range(ROWS)
        ]
        asked = service.simulate(*configs, max_response_bytes=1, timeout=SECONDS)
        pid = server.process.pid
        options = types_pb2.StreamOptions(include_transitions=transitions)
        events = resuming.watch(service, asked.batch_id, stream=options, seconds=SECONDS)
        seen: dict[int, int] = {}
        measured: list[int] = []
        pause = threading.Event()
        for event in events:
            pause.wait(PAUSE_SECONDS)
            if event.HasField("result") and event.result.new_status in calls.TERMINAL:
                assert event.result.index not in seen, "an end comes once"
                seen[event.result.index] = len(event.result.output)
                if len(seen) % ROWS_PER_LOOK == 0:
                    measured.append(resident_kib(pid))
            if event.HasField("statistics"):
                assert event.statistics.completed_jobs == ROWS
        assert sorted(seen) == list(range(ROWS))
        assert min(seen.values()) >= OUTPUT_BYTES
    # What a server needs to work at all is there when a fifth has passed.
    settled = measured[1:]
    growth_kib = max(settled) - settled[0]
    passed_rows = ROWS_PER_LOOK * (len(settled) - 1)
    each = growth_kib * 1024 / passed_rows
    print(f"{ROWS} rows: {growth_kib} KiB more at most, {each:.0f} B a row")  # noqa: T201 (asked for)
    assert growth_kib < MAX_GROWTH_KIB, measured
