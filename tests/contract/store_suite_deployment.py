"""What every store does about the deployment that it belongs to: it keeps one id, for good."""

import concurrent.futures
import pathlib

from contract.store_suite_opening import OpenServer, OpenStore
from dshpc_server.store.port import Store
from support import postgres
from support import store_values as v

ONE, OTHER = "1" * 32, "2" * 32


class Deployed:
    def test_the_first_deployment_id_is_kept_for_good(self, open_store: OpenStore) -> None:
        store = open_store()
        assert store.find_deployment_id() is None
        assert store.keep_deployment_id(ONE) == ONE
        assert store.keep_deployment_id(OTHER) == ONE
        store.close()
        again = open_store()
        assert again.find_deployment_id() == ONE
        assert again.keep_deployment_id(OTHER) == ONE
        again.close()

    def test_servers_that_keep_an_id_at_one_moment_are_answered_with_one(
        self, store: Store, open_server: OpenServer
    ) -> None:
        servers = [open_server() for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(len(servers)) as threads:
            keeping = [
                threads.submit(server.keep_deployment_id, f"{number:032x}")
                for number, server in enumerate(servers)
            ]
            kept = {future.result() for future in keeping}
        assert kept == {store.find_deployment_id()}

    def test_it_is_new_until_something_is_stored(self, store: Store) -> None:
        assert store.is_new()
        store.keep_deployment_id(ONE)
        assert store.is_new()
        v.write(store, lambda writer: writer.put_file(v.file_record("file")))
        assert not store.is_new()

    def test_a_batch_in_which_no_row_names_a_job_is_something(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=[v.rejected(0)]))
        assert not store.is_new()

    def test_it_lies_in_no_folder_but_its_own(self, store: Store, tmp_path: pathlib.Path) -> None:
        assert not store.lies_in(tmp_path / "elsewhere")
        assert store.lies_in(tmp_path) == (store.name == "sqlite")
        (tmp_path / "link").symlink_to(tmp_path)
        assert store.lies_in(tmp_path / "link") == (store.name == "sqlite")

    def test_its_address_holds_no_secret(self, store: Store) -> None:
        assert store.address
        assert "sesame" in postgres.PASSWORD
        assert "sesame" not in store.address
