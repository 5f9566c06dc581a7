import numpy as np
import pytest

from RISCluster.data.coordinates import frequency_factor, seconds_factor, to_metres
from RISCluster.errors import DataError


@pytest.mark.parametrize(
    ("unit", "hertz"),
    [
        ("", 1), ("Hz", 1), ("hertz", 1), ("kHz", 1e3), ("mHz", 1e-3), ("MHz", 1e6), ("1/s", 1),
        ("s-1", 1), ("s**-1", 1), ("cycles per second", 1), ("1/min", 1 / 60),
        ("rad/s", 1 / (2 * np.pi)), ("rad s-1", 1 / (2 * np.pi)),
        ("radians per second", 1 / (2 * np.pi)), ("deg/s", 1 / 360), ("bin", None),
    ],
)  # fmt: skip
def test_frequencies(unit, hertz):
    assert frequency_factor("x.h5: frequency", unit) == (hertz and pytest.approx(hertz, rel=1e-12))


@pytest.mark.parametrize("unit", ["s", "m", "rad", "log10(Hz)", "mel", "1/m", "octaves"])
def test_what_is_no_frequency_is_refused(unit):
    with pytest.raises(DataError, match=r"x\.h5: frequency is in '.*', which is no known unit"):
        frequency_factor("x.h5: frequency", unit)


def test_durations():
    assert [seconds_factor(unit) for unit in ("", "s", "msec", "hrs", "ns", "bin", "samples")] == [
        1, 1, 1e-3, 3600, 1e-9, None, None
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no fixed length"):
        seconds_factor("months")


def test_lengths():
    x = np.array([0.0, 2.0])
    for unit, last in (("m", 2), ("km", 2000), ("ft", 0.6096), ("feet", 0.6096), ("metres", 2)):
        values, shown = to_metres(x, unit)
        assert (values.tolist(), shown) == ([0, pytest.approx(last)], "m")
    assert to_metres(x, "degrees")[1] == "degrees"
    assert to_metres(x, "")[1] == ""
