"""File names as clients give them: kept for display only, harmless. None ever touches a path."""

from __future__ import annotations

import re
import unicodedata
from email.message import Message
from urllib.parse import unquote

LONGEST_BYTES = 255
LONGEST_SUFFIX_BYTES = 16
# RFC 8187: `filename*=UTF-8''na%C3%AFve.jpg`, which beats a plain `filename`.
EXTENDED = re.compile(r";\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^';]*'([^\s;\"]+)", re.IGNORECASE)
# Characters that turn the order of what is shown around: `\u202egpj.exe` looks like `exe.jpg`.
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(name: str | None) -> str | None:
    """The last part of the name without what does not show, in NFC, 255 bytes at most; None where nothing is left."""
    if not name:
        return None
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(c for c in last if c not in TURNING and unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp"))
    text = unicodedata.normalize("NFC", shown).strip()
    if not text.strip("."):
        return None
    return _shortened(text)


def default(kind: str, extension: str) -> str:
    """What a file is called that came without a name."""
    return f"{kind}.{extension}" if extension else kind


def disposition(header: bytes) -> tuple[str | None, str | None]:
    """The parameters `name` and `filename` of a Content-Disposition (RFC 6266, RFC 7578)."""
    message = Message()
    try:
        text = header.decode()
    except UnicodeDecodeError:
        text = header.decode("latin-1")
    message["content-disposition"] = text.replace("\r", "").replace("\n", "")
    extended = EXTENDED.search(text)
    try:
        name = message.get_param("name", header="content-disposition")
        filename = unquote(extended[2], extended[1], "replace") if extended else message.get_filename()
    except (TypeError, ValueError):  # parameters in pieces (RFC 2231) that do not fit together
        return None, None
    return name if isinstance(name, str) else None, filename


def _shortened(text: str) -> str:
    if len(text.encode()) <= LONGEST_BYTES:
        return text
    stem, dot, suffix = text.rpartition(".")
    end = (dot + suffix).encode()
    if not stem or len(end) > LONGEST_SUFFIX_BYTES:
        stem, end = text, b""
    return stem.encode()[: LONGEST_BYTES - len(end)].decode(errors="ignore") + end.decode()
