"""Secrets of keys that are known by their number, of the form that Countersign mints."""

import hashlib
import string
import zlib

LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase


def secret(number):
    """The secret with this number: prefix, 46 characters, checksum."""
    body = "uwk_" + hashlib.sha256(f"secret {number}".encode()).hexdigest()[:46]
    return body + checksum(body)


def checksum(body):
    """Six base62 digits of the CRC-32."""
    left, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        left, digit = divmod(left, 62)
        digits = LETTERS[digit] + digits
    return digits


def write_secrets(path, count):
    """Writes the first secrets, one a line."""
    with open(path, "w", encoding="ascii") as file:
        file.writelines(secret(number) + "\n" for number in range(1, count + 1))
    return path
