"""MethodService: which version is answered, what is refused, and a schema that tells the truth."""

import pathlib
from collections.abc import Mapping
from typing import Any, cast

import hypothesis
import jsonschema
import pytest
from google.protobuf import json_format
from hypothesis import strategies as st

from dshpc.v1 import method_service_pb2
from dshpc_server import errors
from dshpc_server.batches import request
from dshpc_server.domain import identity
from dshpc_server.methods import catalog, method
from dshpc_server.methods import errors as method_errors
from dshpc_server.transport import edge, limits, parameters
from dshpc_server.transport.servicers import method as servicer
from support import methods_site, transport_values

NO_CALL = cast("edge.Call", None)  # an answer does not depend on who asks
NAMES = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=5)
TEXTS = ("1", "2", "3")


@pytest.fixture
def site(tmp_path: pathlib.Path) -> methods_site.Site:
    return methods_site.Site(tmp_path)


def with_three_versions(site: methods_site.Site) -> catalog.Catalog:
    methods = site.catalog()
    for text in TEXTS:
        site.install(files={"main.py": text})
        methods.load()
    return methods


async def get(
    methods: catalog.Catalog, name: str = "hello", function_hash: str = ""
) -> method_service_pb2.GetMethodResponse:
    asked = method_service_pb2.GetMethodRequest(method_name=name, function_hash=function_hash)
    return await servicer.MethodServicer(catalog=methods).get_method(asked, NO_CALL)


async def listed(
    methods: catalog.Catalog, page_token: str
) -> method_service_pb2.ListMethodsResponse:
    asked = method_service_pb2.ListMethodsRequest(page_token=page_token)
    return await servicer.MethodServicer(catalog=methods).list_methods(asked, NO_CALL)


def hashes(response: method_service_pb2.GetMethodResponse) -> list[str]:
    return [version.function_hash for version in response.versions]


def active(response: method_service_pb2.GetMethodResponse) -> list[bool]:
    return [response.method.active, *(version.active for version in response.versions)]


async def test_without_a_hash_the_newest_version_is_answered_and_all_are_listed(
    site: methods_site.Site,
) -> None:
    response = await get(with_three_versions(site))
    assert hashes(response)[0] == response.method.function_hash
    assert len(set(hashes(response))) == 3
    assert active(response) == [True, True, False, False]


async def test_an_older_version_is_answered_by_its_hash_and_is_not_active(
    site: methods_site.Site,
) -> None:
    methods = with_three_versions(site)
    all_hashes = hashes(await get(methods))
    response = await get(methods, function_hash=all_hashes[2])
    assert response.method.function_hash == all_hashes[2]
    assert hashes(response) == all_hashes
    assert active(response) == [False, True, False, False]


async def test_an_older_content_that_is_loaded_again_is_the_newest(
    site: methods_site.Site,
) -> None:
    methods = with_three_versions(site)
    before = hashes(await get(methods))
    site.install(files={"main.py": TEXTS[0]})
    methods.load()
    assert hashes(await get(methods)) == [before[2], before[0], before[1]]


async def test_of_a_removed_method_only_versions_are_answered(site: methods_site.Site) -> None:
    methods = with_three_versions(site)
    before = hashes(await get(methods))
    site.manifest_file("hello").unlink()
    methods.load()
    with pytest.raises(errors.NotFoundError, match="method 'hello' not found"):
        await get(methods)
    response = await get(methods, function_hash=before[1])
    assert response.method.function_hash == before[1]
    assert hashes(response) == before
    assert active(response) == [False] * 4


@pytest.mark.parametrize("name", ["hello", "nope"])
async def test_a_version_that_was_never_loaded_is_not_found(
    site: methods_site.Site, name: str
) -> None:
    methods = with_three_versions(site)
    with pytest.raises(errors.NotFoundError) as raised:
        await get(methods, name, "0" * 64)
    assert raised.value.name == "0" * 64
    assert f"'{name}'" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "function_hash", "field"),
    [
        ("", "", "method_name"),
        ("", "0" * 64, "method_name"),
        ("x" * (limits.MAX_METHOD_NAME_BYTES + 1), "", "method_name"),
        ("é" * limits.MAX_METHOD_NAME_BYTES, "", "method_name"),
        ("hello", "0" * 63, "function_hash"),
        ("hello", "A" * 64, "function_hash"),
        ("hello", "../../etc/passwd", "function_hash"),
    ],
)
async def test_what_cannot_name_a_method_or_a_version_is_invalid(
    site: methods_site.Site, name: str, function_hash: str, field: str
) -> None:
    with pytest.raises(errors.InvalidRequestError) as raised:
        await get(site.catalog(), name, function_hash)
    assert [violation.field for violation in raised.value.violations] == [field]


async def test_a_page_of_methods_ends_before_it_is_too_large_and_none_is_lost(
    site: methods_site.Site,
) -> None:
    count, described = 8, "x" * (limits.DEFAULT_RESPONSE_BYTES // 3)
    names = [f"m{number}" for number in range(count)]
    for name in names:
        size = described * 4 if name == "m3" else described  # too large by itself
        site.install(name, description=size[: 1 << 20][:-1000])
    methods = site.catalog()
    methods.load()
    seen: list[str] = []
    token = ""
    while len(seen) < count:
        page = await listed(methods, token)
        assert len(page.methods) == 1 or page.ByteSize() < limits.DEFAULT_RESPONSE_BYTES + 1000
        seen += [each.method_name for each in page.methods]
        token = page.next_page_token
        assert bool(token) == (len(seen) < count)
    assert seen == names


async def test_versions_that_are_too_many_are_told_without_their_parameters(
    site: methods_site.Site,
) -> None:
    methods = site.catalog()
    many = [{"name": f"p{n}", "type": "number", "description": "x" * 400_000} for n in range(2)]
    for text in TEXTS:
        site.install(files={"main.py": text}, parameters=many)
        methods.load()
    response = await get(methods)
    assert response.ByteSize() < limits.DEFAULT_RESPONSE_BYTES
    assert len(response.method.parameters) == 2
    assert response.method.HasField("parameters_schema")
    assert len(hashes(response)) == 3
    assert not any(version.parameters for version in response.versions)


def declared(names: list[str], data: st.DataObject) -> list[dict[str, object]]:
    """Declare these parameters, of any type, with or without a default."""
    parameters = []
    for name in names:
        word = data.draw(st.sampled_from(method.TYPES))
        parameter: dict[str, object] = {"name": name, "type": word}
        parameter["required"] = data.draw(st.booleans())
        if data.draw(st.booleans()):
            parameter["default"] = data.draw(of_type(word))
        parameters.append(parameter)
    return parameters


def of_type(word: str) -> st.SearchStrategy[Any]:
    kinds: Mapping[str, st.SearchStrategy[Any]] = {
        "string": st.text("ab", max_size=3),
        "boolean": st.booleans(),
        "integer": st.integers(-(2**53) + 1, 2**53 - 1) | st.sampled_from([2.0, 1e300]),
        "number": st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False),
        "array": st.lists(transport_values.scalars, max_size=2),
        "object": st.dictionaries(st.text("ab", max_size=2), transport_values.scalars, max_size=2),
    }
    return kinds[word]


def is_accepted(version: method.MethodVersion, given: dict[str, identity.Json]) -> bool:
    """Whether the server takes these parameters, read as a request is."""
    reader = parameters.ParameterReader(transport_values.LIMITS)
    read = reader.read(transport_values.struct(given).SerializeToString())
    assert isinstance(read, request.Parameters)
    try:
        version.complete(read.value)
    except method_errors.ParameterError:
        return False
    return True


@hypothesis.given(st.data())
def test_the_schema_that_is_told_accepts_what_the_server_accepts_and_nothing_else(
    data: st.DataObject,
) -> None:
    names = data.draw(st.lists(NAMES, unique=True, max_size=4))
    version = methods_site.version(parameters=declared(names, data))
    told = servicer._message(version, active=True).parameters_schema
    schema = json_format.MessageToDict(
        type(told).FromString(told.SerializeToString()), preserving_proto_field_name=True
    )
    jsonschema.Draft202012Validator.check_schema(schema)
    types = {each.name: of_type(each.type) for each in version.parameters}
    given = data.draw(
        st.fixed_dictionaries({}, optional={name: types[name] for name in names})
        | st.dictionaries(
            st.sampled_from([*names, "other"]), st.one_of(*map(of_type, method.TYPES)), max_size=4
        )
    )
    assert jsonschema.Draft202012Validator(schema).is_valid(given) == is_accepted(version, given)


def test_the_deepest_default_that_a_manifest_may_have_can_be_told() -> None:
    deep: identity.Json = 1
    for _ in range(16):
        deep = {"x": deep}
    version = methods_site.version(parameters=[{"name": "p", "type": "object", "default": deep}])
    response = method_service_pb2.GetMethodResponse(
        method=servicer._message(version, active=True),
        versions=[servicer._message(version, active=True)],
    )
    read = method_service_pb2.GetMethodResponse.FromString(response.SerializeToString())
    assert json_format.MessageToDict(read.method.parameters[0].default_value) == deep
