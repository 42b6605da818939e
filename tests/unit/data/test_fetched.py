"""Files over HTTP(S): from where the site lists, whatever a name or a redirect leads to, and nothing stays of them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from archive import Archive, serving_archive
from click.testing import CliRunner
from copies import FORMATS, MADE, opened, quiet
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint
from tls_front import NAME
from tls_front import serving as serving_over_tls

from appliance.cli import main
from appliance.data import DataError, compared, ingest
from appliance.inventory_secrets import authority

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """With a file of a year below /pub/, and another one that nobody may have."""
    with serving_archive() as made:
        for path, number in (("/pub/1.nc", 1), ("/pub/J%C3%A4hr%202.nc", 2), ("/secret/3.nc", 3)):
            file = tmp_path / "file.nc"
            year(number).to_netcdf(file, engine="netcdf4", encoding={"t": PACKED})
            made.files[path] = file.read_bytes()
        yield made


@pytest.fixture(autouse=True)
def _pub(archive: Archive, listed: Callable[..., None]) -> None:
    listed(archive.url("/pub/"))


@FORMATS
def test_files_elsewhere_become_a_dataset_and_are_asked_for_once(
    endpoint: S3Endpoint, archive: Archive, tmp_path: Path, kind: str
) -> None:
    told: list[str] = []
    made = ingest([archive.url("/pub/Jähr 2.nc"), archive.url("/pub/1.nc")], MADE, format=kind, tell=told.append)
    assert made == MADE
    for number, path in enumerate(archive.files):
        (tmp_path / f"{number}.nc").write_bytes(archive.files[path])
    with xr.open_mfdataset([tmp_path / "0.nc", tmp_path / "1.nc"], engine="netcdf4") as truth:
        xr.testing.assert_identical(opened(kind).load(), truth.load())
    assert sorted(archive.asked) == ["/pub/1.nc", "/pub/J%C3%A4hr%202.nc"]
    assert [name for name in endpoint.objects() if ".ingest" in name] == []
    assert any(
        line.startswith(f"{archive.url('/pub/1.nc')}: fetched as s3://alice/.ingest-made.files/") for line in told
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/secret/3.nc", r"is not in the site's list of what is fetched; the site lists http://127.0.0.1:\d+/pub/: "),
        ("/pub/../secret/3.nc", r"has \. or \.\. in its path"),
        ("/pub/%2e%2e/secret/3.nc", r"has \. or \.\. in its path"),
        ("/pub/*.nc", r"nobody lists what is elsewhere: name each file"),
        ("/pub/", r"is no Zarr dataset: there is neither zarr.json nor"),
        ("/pub/none.nc", r"is not there, or not as a file \(404"),
    ],
)
def test_what_is_not_listed_or_not_there_is_told_and_not_asked_for(
    endpoint: S3Endpoint, archive: Archive, url: str, message: str
) -> None:
    with pytest.raises(DataError, match=rf"{'' if '*' in url else archive.url('/')}.*{message}"):
        ingest(archive.url(url), MADE, tell=quiet)
    assert "/secret/3.nc" not in archive.asked
    assert endpoint.objects() == []


def test_where_nothing_is_listed_nothing_is_fetched(archive: Archive, listed: Callable[..., None]) -> None:
    listed()
    with pytest.raises(DataError, match=r"the site lists nothing: download it yourself, and put it on S3"):
        ingest(archive.url("/pub/1.nc"), MADE, tell=quiet)
    run = CliRunner().invoke(main, ["data", "ingest", archive.url("/pub/1.nc"), MADE])
    assert run.exit_code == 1
    assert "or ask your operators" in run.output
    assert archive.asked == []


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("/secret/3.nc", r"leads to http://127.0.0.1:\d+/secret/3.nc, which is not in the site's list"),
        (
            "http://localhost:{port}/pub/1.nc",
            r"leads to http://localhost:\d+/pub/1.nc, which is not in the site's list",
        ),
        ("http://127.0.0.1:1/pub/1.nc", r"leads to http://127.0.0.1:1/pub/1.nc, which is not in the site's list"),
        (
            "https://127.0.0.1:{port}/pub/1.nc",
            r"leads to https://127.0.0.1:\d+/pub/1.nc, which is not in the site's list",
        ),
        ("file:///etc/passwd", r"leads to file:///etc/passwd, which is not fetched: file is neither https nor http"),
        ("/pub/round", r"leads on 6 times"),
    ],
)
def test_a_redirect_is_judged_anew(endpoint: S3Endpoint, archive: Archive, to: str, message: str) -> None:
    archive.answers["/pub/round"] = (302, {"Location": to.format(port=archive.port), "Content-Length": "0"}, b"")
    with pytest.raises(DataError, match=rf"^{archive.url('/pub/round')}: {message}"):
        ingest(archive.url("/pub/round"), MADE, tell=quiet)
    assert set(archive.asked) == {"/pub/round"}
    assert endpoint.objects() == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_what_is_listed_is_followed(archive: Archive, status: int) -> None:
    archive.answers["/pub/old.nc"] = (status, {"Location": "1.nc", "Content-Length": "0"}, b"")
    assert ingest(archive.url("/pub/old.nc"), MADE, tell=quiet) == MADE
    assert archive.asked == ["/pub/old.nc", "/pub/1.nc"]


def test_a_name_that_leads_into_the_facility_is_refused_unless_that_is_listed(
    archive: Archive, listed: Callable[..., None]
) -> None:
    url = archive.url("/pub/1.nc", "localhost")
    listed(archive.url("/pub/", "localhost"))
    with pytest.raises(DataError, match=r"localhost:\d+/pub/1.nc: leads to .*127.0.0.1.*loopback"):
        ingest(url, MADE, tell=quiet)
    assert archive.asked == []
    listed(archive.url("/pub/", "localhost"), networks=("127.0.0.0/8",))
    assert ingest(url, MADE, tell=quiet) == MADE


def test_a_name_is_looked_up_once(
    archive: Archive, listed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it could lead elsewhere the second time."""
    right, asked = socket.getaddrinfo, []

    def resolve(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host == "archive.test":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.66"
        return right(host, port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    listed(archive.url("/pub/", "archive.test"), networks=("127.0.0.1",))
    assert ingest(archive.url("/pub/1.nc", "archive.test"), MADE, tell=quiet) == MADE
    assert asked == ["archive.test"]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}, body


@pytest.mark.parametrize(
    ("told", "kind", "message"),
    [
        (
            answer(body=b"half", Content_Length="400"),
            OSError,
            r"the answer breaks off \(.*396.*\): ask for the same again",
        ),
        (answer(503), OSError, r"has a fault, or too much to do \(503"),
        (answer(429), OSError, r"try again later"),
        (answer(401), DataError, r"wants a log-in, or refuses \(401"),
        (answer(403), DataError, r"wants a log-in, or refuses \(403"),
        (answer(206, b"part"), DataError, r"is not there, or not as a file \(206"),
        (answer(body=b"packed", Content_Encoding="gzip"), DataError, r"is sent compressed"),
        ((200, {"Connection": "close"}, b"all"), DataError, r"does not say where it ends"),
        (answer(body=b"<!DOCTYPE html>"), DataError, r"1.nc: is neither HDF5/netCDF-4 nor netCDF-3, but a web page"),
        (answer(body=b""), DataError, r"1.nc: is empty"),
    ],
)
def test_an_answer_that_is_no_whole_file_is_told_and_nothing_stays(
    endpoint: S3Endpoint, archive: Archive, told: tuple[int, dict[str, str], bytes], kind: type[Exception], message: str
) -> None:
    archive.answers["/pub/1.nc"] = told
    with pytest.raises(kind, match=message):
        ingest(archive.url("/pub/1.nc"), MADE, tell=quiet)
    assert endpoint.objects() == []


def test_a_server_that_is_not_there_is_told(archive: Archive, listed: Callable[..., None]) -> None:
    listed("http://127.0.0.1:1/", "http://none.invalid/")
    with pytest.raises(OSError, match=r"127.0.0.1 \(127.0.0.1\) is not reached: .*is for your operators to say"):
        ingest("http://127.0.0.1:1/x.nc", MADE, tell=quiet)
    with pytest.raises(OSError, match=r"the name none.invalid is not known"):
        ingest("http://none.invalid/x.nc", MADE, tell=quiet)
    assert archive.asked == []


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


@FORMATS
def test_an_interrupted_copy_goes_on_with_what_was_fetched(
    endpoint: S3Endpoint, archive: Archive, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(compared.Check, "file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(archive.url("/pub/1.nc"), MADE, format=kind, tell=quiet)
    (kept,) = (name for name in endpoint.objects() if name.endswith("/1.nc"))
    written = (endpoint.folder / kept).stat().st_mtime_ns
    monkeypatch.setattr("appliance.data.fetched.Fetched.remove", lambda _: False)  # to look at it
    assert ingest(archive.url("/pub/1.nc"), MADE, format=kind, tell=quiet) == MADE
    assert (endpoint.folder / kept).stat().st_mtime_ns == written


def test_a_file_that_changed_meanwhile_is_no_part_of_the_copy_that_was_begun(
    endpoint: S3Endpoint, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(compared.Check, "file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(archive.url("/pub/1.nc"), MADE, tell=quiet)
    begun = endpoint.objects()
    archive.tag, archive.files["/pub/1.nc"] = '"2"', archive.files["/secret/3.nc"]
    with pytest.raises(DataError, match=r"another ingest was begun here"):
        ingest(archive.url("/pub/1.nc"), MADE, tell=quiet)
    assert endpoint.objects() == begun
    assert CliRunner().invoke(main, ["data", "abandon", MADE]).exit_code == 0
    assert endpoint.objects() == []


def test_what_was_fetched_before_a_copy_was_begun_can_be_removed(
    endpoint: S3Endpoint, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.data.file_set.Files.described", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        ingest(archive.url("/pub/1.nc"), MADE, tell=quiet)
    assert "what was fetched stays there" in raised.value.__notes__[0]
    assert len(endpoint.objects()) == 1
    assert CliRunner().invoke(main, ["data", "abandon", MADE]).exit_code == 0
    assert endpoint.objects() == []
    assert CliRunner().invoke(main, ["data", "abandon", MADE]).exit_code == 1


@pytest.mark.parametrize("of", ["a forecast", "a copy that differs"])
def test_nothing_stays_of(endpoint: S3Endpoint, archive: Archive, monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    if of == "a forecast":
        ingest(archive.url("/pub/1.nc"), MADE, forecast=True, tell=quiet)
    else:

        def differs(*_: Any) -> None:
            raise DataError("differs")

        monkeypatch.setattr(compared.Check, "file", differs)
        with pytest.raises(DataError, match="differs"):
            ingest(archive.url("/pub/1.nc"), MADE, tell=quiet)
    assert endpoint.objects() == []


def test_over_tls_the_certificate_is_that_of_the_name(
    tmp_path: Path, listed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: right("127.0.0.1" if str(host).endswith(".test") else host, *rest, **more),
    )
    with serving_over_tls(*authority(), tmp_path) as front:
        listed(f"{front.url}/", front.url.replace(NAME, "elsewhere.test"), networks=("127.0.0.1",))
        with pytest.raises(OSError, match=r"is not reached: .*certificate verify failed"):
            ingest(f"{front.url}/1.nc", MADE, tell=quiet)
        (tmp_path / "authority.pem").write_text(front.authority)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        with pytest.raises(DataError, match=r"1.nc: is neither HDF5/netCDF-4 nor netCDF-3; it begins with b'hub.exam"):
            ingest(f"{front.url}/1.nc", MADE, tell=quiet)
        with pytest.raises(OSError, match=r"is not reached: .*Hostname mismatch"):
            ingest(f"{front.url.replace(NAME, 'elsewhere.test')}/1.nc", MADE, tell=quiet)
