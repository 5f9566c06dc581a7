"""Seals: a checksum at the end of a file, by which damage is known before anything is read.

A seal is a line with the SHA-256 of all that stands before it. Readers of zip files (``.pt``,
``.npz``) take it for the archive's comment, and readers of ``.npy`` stop before it. PyTorch does
not look at the checksums inside its files: without a seal, one flipped bit of a weight passes.
"""

import functools
import hashlib
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

MARK = b"\nRISCluster sha256 "
LENGTH = len(MARK) + 64 + 1
ZIP_START, ZIP_END = b"PK\x03\x04", b"PK\x05\x06"
ZIP_END_LENGTH = 22  # bytes of the record that ends an archive, without a comment
BLOCK = 2**20


class Damaged(ValueError):
    """A file is not as it was written; the text says in which way."""


def sealed_zip(content: bytes) -> bytes:
    """A zip archive without comment, with a seal as its comment."""
    if content[-ZIP_END_LENGTH:][:4] != ZIP_END:
        raise ValueError("not a zip archive without comment")
    content = content[:-2] + LENGTH.to_bytes(2, "little")
    return content + _line(hashlib.sha256(content).hexdigest())


def append_seal(file: BinaryIO) -> None:
    """Seal what is in an open file, which can be read and written."""
    end = file.seek(0, os.SEEK_END)
    file.write(_line(_checksum(file, end)))


def is_sealed(file: BinaryIO) -> bool:
    """Whether a file has a seal.

    Raises
    ------
    Damaged
        It has one, of other bytes.
    """
    size = file.seek(0, os.SEEK_END)
    if size < LENGTH:
        return False
    file.seek(size - LENGTH)
    seal = file.read(LENGTH)
    if not seal.startswith(MARK):
        return False
    if seal != _line(_checksum(file, size - LENGTH)):
        raise Damaged("it is not as it was written")
    return True


@functools.lru_cache(maxsize=64)
def _is_sealed(path: str, *_: int) -> bool:
    with open(path, "rb") as file:
        return is_sealed(file)


def is_sealed_path(path: Path) -> bool:
    """`is_sealed`, looked at once for each state of a file, for those that are opened often."""
    status = path.stat()
    return _is_sealed(str(path), status.st_ino, status.st_size, status.st_mtime_ns)


def require_whole_zip(file: BinaryIO) -> None:
    """Refuse an archive that is damaged, cut short, or larger inside than outside.

    One without a seal, of an older version or of another program, must end as archives end.

    Raises
    ------
    Damaged
    """
    if not is_sealed(file):
        file.seek(max(0, file.seek(0, os.SEEK_END) - ZIP_END_LENGTH))
        end = file.read()
        if end[:4] != ZIP_END or end[-2:] != b"\0\0":
            raise Damaged("it is cut short, or its end was changed")
    size = file.seek(0, os.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises many kinds for damaged bytes
        raise Damaged(f"not an archive: {error}") from None
    if sum(member.file_size for member in members) > size:
        raise Damaged("it promises more than it holds")


def is_zip(file: BinaryIO) -> bool:
    """Whether a file begins as zip archives do."""
    file.seek(0)
    return file.read(4) == ZIP_START


def _line(checksum: str) -> bytes:
    return MARK + checksum.encode() + b"\n"


def _checksum(file: BinaryIO, length: int) -> str:
    """SHA-256 of the first bytes of a file, in hexadecimal."""
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0 and (block := file.read(min(BLOCK, length))):
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()
