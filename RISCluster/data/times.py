"""Times as files have them to ISO 8601 in UTC."""

from typing import Any

import numpy as np


def to_text(value: Any) -> str:
    """Bytes or anything else as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def to_iso(value: Any) -> str:
    """Time as text or as seconds since 1970 to ISO 8601 in UTC with Z; empty if it is neither."""
    try:
        if isinstance(value, (bytes, str)):
            text = to_text(value).strip().replace(" ", "T")
            for utc in ("Z", "+00:00", "+0000", "-00:00"):
                text = text.removesuffix(utc)
            if text[10:].count("+") or text[10:].count("-"):
                return ""  # other zones than UTC are not guessed at
            time = np.datetime64(text, "us")
        else:
            time = np.datetime64(round(float(value) * 1e6), "us")
    except (TypeError, ValueError, OverflowError):
        return ""
    return "" if np.isnat(time) else f"{time}Z"


def nanoseconds_to_iso(times: np.ndarray) -> list[str]:
    """Nanoseconds since 1970, (n,) int64, to ISO 8601 in UTC with microseconds and Z."""
    rounded = (np.asarray(times, dtype=np.int64) + 500) // 1000
    stamps = rounded.astype("datetime64[us]")
    return [f"{stamp}Z" for stamp in np.datetime_as_string(stamps, unit="us")]
