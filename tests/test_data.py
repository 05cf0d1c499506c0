"""microgpt.data: the embedded names, and the documents of a text file."""

import hashlib
import html
import os
import re
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from microgpt import DataError, data, embedded_names, files, read_documents
from microgpt.cli import main

NAMES_SHA256 = "91691165b471c338ee35387260590f0fdc23fcb50509b9ccfe1c879c7ac39a1e"
BOM = b"\xef\xbb\xbf"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "text.txt"


def test_embedded_names():
    """The embedded data is the list that its README describes: numbers, order, alphabet, SHA-256 of the text."""
    names = embedded_names()
    text = "".join(f"{name}\n" for name in names)
    assert hashlib.sha256(text.encode()).hexdigest() == NAMES_SHA256
    assert (len(names), len(set(names)), names[0]) == (32_469, 29_910, "emma")
    assert sorted(set(text)) == ["\n", *"abcdefghijklmnopqrstuvwxyz"]


def test_embedded_names_are_the_callers():
    """Each call gives a new list, which may be shuffled."""
    names = embedded_names()
    names.clear()
    assert embedded_names()[0] == "emma"


@pytest.mark.parametrize(
    ("raw", "docs"),
    [
        pytest.param(b"ab\nc\n", ["ab", "c"], id="plain"),
        pytest.param(b"ab\r\nc\r\n", ["ab", "c"], id="CRLF"),
        pytest.param(b"ab\rc\r", ["ab", "c"], id="CR"),
        pytest.param(b"ab\nc\r\nd\re", ["ab", "c", "d", "e"], id="all line endings"),
        pytest.param(b"\n\nab\n \t\n\r\nc\n\n", ["ab", "c"], id="blank lines"),
        pytest.param(b"  ab \t\n\t c d\n\xc2\xa0e\xe3\x80\x80\n", ["ab", "c d", "e"], id="surrounding white space"),
        pytest.param(BOM + b"ab\nc\n", ["ab", "c"], id="byte order mark"),
        pytest.param(b"ab\n" + BOM + b"c\n", ["ab", "\ufeffc"], id="byte order mark inside is a character"),
        pytest.param(b"ab\nc", ["ab", "c"], id="no final newline"),
        pytest.param("é\n日本\n😀\n".encode(), ["é", "日本", "😀"], id="non-ASCII"),
        pytest.param("e\u0301\né\n".encode(), ["e\u0301", "é"], id="not normalized"),
        pytest.param("a\vb\fc\x1cd\x85e\u2028f\u2029g\n".encode(), ["a\vb\fc\x1cd\x85e\u2028f\u2029g"], id="one line"),
        pytest.param(b"a\0b\n", ["a\0b"], id="NUL"),
        pytest.param(b"b\na\nb\n", ["b", "a", "b"], id="order and repetition kept"),
        pytest.param(b"ab", ["ab"], id="a single document"),
        pytest.param(b"x\n", ["x"], id="a single character"),
    ],
)
def test_read_documents(path, raw, docs):
    """Documents are the lines, stripped, in order, without the blank ones; a path may be a string too."""
    path.write_bytes(raw)
    assert read_documents(path) == read_documents(str(path)) == docs


@pytest.mark.parametrize("raw", [b"", b"\n", b" \t\r\n\r\n\n", BOM, BOM + b"\n"])
def test_no_documents(path, raw):
    """A file with nothing but blanks is a DataError that names it."""
    path.write_bytes(raw)
    with pytest.raises(DataError, match="holds no documents") as caught:
        read_documents(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "line", "byte"),
    [
        pytest.param(b"\xff\nb\nc\n", 1, 0xFF, id="first byte"),
        pytest.param(b"a\nb\xe9b\nc\n", 2, 0xE9, id="Latin-1 in the middle"),
        pytest.param(b"a\r\nb\r\nc\xfc\r\n", 3, 0xFC, id="last line, CRLF"),
        pytest.param(b"a\rb\rc\xfc\r", 3, 0xFC, id="last line, CR"),
        pytest.param(b"a\nb\n\xc3", 3, 0xC3, id="truncated sequence at the end"),
        pytest.param(b"a\n\xf0\x9f\x98\nb\n", 2, 0xF0, id="truncated sequence at the end of a line"),
        pytest.param(b"a\n\n\xed\xa0\x80\n", 3, 0xED, id="surrogate"),
        pytest.param(b"a\n\xc0\xaf\n", 2, 0xC0, id="overlong sequence"),
        pytest.param("ä\nö\n".encode() + b"\x80\n", 3, 0x80, id="after non-ASCII"),
        pytest.param(BOM + b"a\nb\n\xff\n", 3, 0xFF, id="after a byte order mark"),
        pytest.param("a\n".encode("utf-16"), 1, 0xFF, id="UTF-16"),
    ],
)
def test_not_utf8(path, raw, line, byte):
    """Bytes that are not UTF-8 are a DataError that names the file, the line, and the first such byte."""
    path.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read_documents(path)
    assert str(caught.value).startswith(f"{path}, line {line}: byte 0x{byte:02x} is not UTF-8")


@pytest.mark.parametrize("name", ["missing.txt", "", "missing/text.txt", "text\0.txt"])
def test_cannot_read(tmp_path, name):
    """A file that is not there, a directory, a name that no file can have: a DataError that names it."""
    with pytest.raises(DataError, match="cannot read") as caught:
        read_documents(tmp_path / name)
    assert isinstance(caught.value, ValueError)
    assert str(tmp_path) in str(caught.value)


# ---- the course's own file: no test downloads anything


@pytest.fixture
def course_file(tmp_path, monkeypatch):
    """A file in the place of the course's, served by a replacement of the download, which counts its calls."""
    raw = b"emma\nolivia\n"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "COURSE_SHA256", hashlib.sha256(raw).hexdigest())
    calls = []

    def download(url):
        calls.append(url)
        return raw

    monkeypatch.setattr(data, "_download", download)
    return calls


def test_course_names_are_downloaded_once(course_file, tmp_path):
    """The first call downloads, the second reads the cache; a damaged cache is downloaded again."""
    assert data.course_names() == data.course_names() == ["emma", "olivia"]
    assert course_file == [data.COURSE_URL]
    cached = tmp_path / "cache" / "microgpt" / "names.txt"
    cached.write_bytes(b"emm")
    assert data.course_names() == ["emma", "olivia"]
    assert len(course_file) == 2
    assert [path.name for path in cached.parent.iterdir()] == ["names.txt"]


def test_course_names_are_checked(course_file, monkeypatch, tmp_path):
    """Another file under that address is refused, and not kept."""
    monkeypatch.setattr(data, "COURSE_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"not the course's file, .* the file has changed; try again"):
        data.course_names()
    assert not (tmp_path / "cache").exists()


def test_course_names_without_a_network(monkeypatch, tmp_path):
    """A download that fails is a DataError that says what to do."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(data, "COURSE_URL", (tmp_path / "nowhere").as_uri())
    with pytest.raises(DataError, match=r"cannot download .* try again, or give a file with --data"):
        data.course_names()


GOOD = b"emma\nolivia\n"
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
ANSWERS = {
    "a reply that is cut": HEAD + b"Content-Length: 12\r\n\r\nemm",
    "a reply in chunks that is cut": HEAD + b"Transfer-Encoding: chunked\r\n\r\n40\r\nemma\nol",
    "chunks of no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nemma\n",
    "one that is not HTTP": b"\x00\xff SSH-2.0-OpenSSH_9.2\r\n",
    "no status": b"HTTP/1.1 what\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000,
    "an endless line": b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\n\r\n",
    "nothing": b"",
    "an error": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "another file": HEAD + b"Content-Length: 5\r\n\r\nemma\n",
    "a way in a circle": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "a way elsewhere": b"HTTP/1.1 302 Found\r\nLocation: nowhere://\r\nContent-Length: 0\r\n\r\n",
}


@pytest.fixture
def answer(monkeypatch, tmp_path):
    """Serves bytes to whoever connects, and closes the connection, with a reset if there are none to send."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(data, "COURSE_SHA256", hashlib.sha256(GOOD).hexdigest())
    server = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(data, "COURSE_URL", f"http://127.0.0.1:{server.getsockname()[1]}/")
    said = []

    def serve():
        with suppress(OSError):
            while True:
                with server.accept()[0] as connection, suppress(OSError):
                    if said[0] == b"":
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        continue
                    connection.recv(65536)
                    connection.sendall(said[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield said.append
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


def test_download(answer):
    """The server of these tests can serve the file."""
    answer(HEAD + b"Content-Length: 12\r\n\r\n" + GOOD)
    assert data.course_names() == ["emma", "olivia"]


@pytest.mark.parametrize("what", ANSWERS)
def test_broken_downloads(answer, what, tmp_path, capsys):
    """Whatever comes in the place of the file is one line that says what to do, and nothing is left of it."""
    answer(ANSWERS[what])
    assert main(["--course-names"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.endswith("try again, or give a file with --data\n"), err
    assert not list(tmp_path.rglob("*.*"))


# ---- what never ends, or is larger than the memory


@pytest.mark.parametrize(
    "words", ["--data {}", "--config {}", "sample {}", "eval {}", "eval {}/run", "--resume {}/run", "report {}/run"]
)
@pytest.mark.parametrize("kind", ["device", "sparse file"])
def test_endless(run, tmp_path, monkeypatch, kind, words):
    """Whatever is read: no device but a terminal, and no file that has no room in memory. One line, at once."""
    monkeypatch.chdir(tmp_path)
    if kind == "device":
        name, said = "/dev/zero", "it is a device, and neither a file nor a pipe"
    else:
        name, said = "sparse", f"it has {1 << 40:,} bytes, and no more than "
        try:
            with open(name, "wb") as file:
                os.truncate(file.fileno(), 1 << 40)
        except OSError as error:
            pytest.skip(f"there are no sparse files of this size here: {error.strerror}")
    if "/run" in words:
        run("--steps", "1", "--samples", "0", "--n-embd", "4", "--out", "run")
        damaged = tmp_path / "run" / ("model.safetensors" if "eval" in words else "log.jsonl")
        damaged.unlink()
        damaged.symlink_to(os.path.join(tmp_path, name))
        words = words.replace("{}/", "")
    status, out, err = run(*words.format(name).split())
    if words == "report run":  # which goes on without a log, and says so in the page
        assert (status, err) == (0, "")
        out, err = "", html.unescape(Path("run.html").read_text(encoding="utf-8"))
    else:
        assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_pipes(run, tmp_path, monkeypatch):
    """A pipe gives documents, up to a quarter of the memory."""
    name = tmp_path / "pipe"
    os.mkfifo(name)

    def write(line, times):
        with suppress(BrokenPipeError), open(name, "wb") as file:
            for _ in range(times):
                file.write(line)

    def read(line, times):
        writer = threading.Thread(target=write, args=(line, times), daemon=True)
        writer.start()
        found = run("--data", name, "--steps", "1", "--samples", "0", "--n-embd", "4")
        writer.join(10)
        assert not writer.is_alive()
        return found

    assert read(b"a word\n", 100_000)[1].startswith("num docs: 100000\n")
    monkeypatch.setattr(files, "memory", lambda: 4_000_000)
    status, out, err = read(b"a word\n", 10**9)
    assert (status, out) == (2, "")
    assert (
        err == f"microgpt: cannot read '{name}': it has more than 1,000,000 bytes, a quarter of this machine's memory\n"
    )


def test_memory(tmp_path):
    """Not more than the machine has, and some."""
    kilobytes = re.search(r"MemTotal: *(\d+) kB", Path("/proc/meminfo").read_text())
    assert 1 << 20 < files.memory() <= int(kilobytes[1]) * 1024
