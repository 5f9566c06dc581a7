"""The one parser of times."""

import numpy as np
import pytest

from RISCluster.data import times
from RISCluster.data.times import NOT_A_TIME, parse_time, parse_times
from RISCluster.errors import DataError

DAY, HOUR = 86400 * 10**9, 3600 * 10**9
T2020 = 18262 * DAY  # 2020-01-01


@pytest.mark.parametrize(("value", "after"), [
    ("2020-01-01T00:00:00Z", 0), (b"2020-01-01 00:00:00.123456789+00:00", 123456789),
    ("2020-01-01T02:00:00+02:00", 0), ("2020-01-01T00:00:00-0600", 6 * HOUR),
    ("2020-01-01 00:00:00 -6:00", 6 * HOUR), ("2020-01-01 00:00 UTC", 0), ("2020-01", 0),
    ("2020/1/2", DAY), ("20200102", DAY), ("20200102T030000.5Z", DAY + 3 * HOUR + 5 * 10**8),
    (1577836800, 0), (1577836800.0, 0), (1577836800000, 0), (1577836800000000, 0),
    (1577836800000000000, 0), ("1577836800", 0), (np.datetime64("2020"), 0),
    (np.float64(1577836800), 0),
])  # fmt: skip
def test_one_time(value, after):
    assert parse_time(value) == T2020 + after


def test_what_is_no_time_or_out_of_range_is_none():
    for value in (
        "", "yesterday", "2020-13-01", "2020-02-30", "2020-366", "2020-01-01T25:00", "2399-01-01",
        "1600-01-01", "51976-01-01", float("nan"), None, True, 10**30, "1e400", "9" * 40,
        np.datetime64("NaT"), np.datetime64("2399-01-01"), "now", "2020-01-01T00:00:00?",
    ):  # fmt: skip
        assert parse_time(value) is None, value


def test_arrays_are_parsed_like_single_values_and_what_int64_cannot_hold_is_none():
    texts = np.array(["2020-01-01T00:00:00.000001Z", "nothing", "2020-01-02T01:00:00+01:00", ""])
    assert parse_times(texts).tolist() == [T2020 + 1000, NOT_A_TIME, T2020 + DAY, NOT_A_TIME]
    mixed = np.array([[1], None, 1577836800, "2020-01-01", float("nan")], dtype=object)
    assert parse_times(mixed).tolist() == [NOT_A_TIME, NOT_A_TIME, T2020, T2020, NOT_A_TIME]
    assert parse_times([]).tolist() == []
    values = np.array([0.0, np.nan, np.inf, 1e12, -1e10, 1.5])
    found = times.decode_times(values, "seconds since 1970-01-01")
    assert found.tolist() == [0, *[NOT_A_TIME] * 4, 1500000000]
    assert times.nanoseconds_to_iso(found[:2]) == ["1970-01-01T00:00:00.000000Z", ""]


@pytest.mark.parametrize(("units", "value", "right"), [
    ("seconds since 2020-01-01 00:00:00 UTC", 39, "2020-01-01T00:00:39"),
    ("hours since 2020-01-01 00:00:00 -6:00", 0, "2020-01-01T06:00:00"),
    ("hrs since 1800-1-1 00:00:0.0", 1928472, "2020-01-01T00:00:00"),
    ("nanoseconds since the Unix epoch", 1577836800000000001, "2020-01-01T00:00:00"),
    ("datetime64[ms]", 1577836800000, "2020-01-01T00:00:00"),
    ("days since 2020-01-01T00:00:00Z", 0.5, "2020-01-01T12:00:00"),
    ("months since 2020-01-01", 0, "'months' is not known; known are ns"),
    ("s since 2020.5", 0, "'2020.5' is no date"),
    ("hours since 1-1-1 00:00:0.0", 0, "is no date from 1678 to 2261"),
])  # fmt: skip
def test_units_of_cf(units, value, right):
    for values in ([value], [float(value)]):
        if right.startswith("20"):
            found = times.nanoseconds_to_iso(times.decode_times(values, units))
            assert found == [f"{right}.000000Z"]
        else:
            with pytest.raises(ValueError, match=right):
                times.decode_times(values, units)
    with pytest.raises(ValueError, match="calendar 'noleap' has other dates"):
        times.decode_times([0], "s since 2020-01-01", "noleap")


def test_frequencies_durations_lengths_and_rates():
    for quantity, factors in {
        "frequency": {"Hz": 1, "kHz": 1e3, "mHz": 1e-3, "MHz": 1e6, "s-1": 1,
                      "rad/s": 1 / (2 * np.pi)},
        "time": {"s": 10**9, "msec": 10**6, "hrs": 3600 * 10**9, "ns": 1},
    }.items():  # fmt: skip
        assert {unit: times.unit_factor(quantity, unit) for unit in factors} == factors
    for unit in ("s", "m", "log10(Hz)", "mhz", "bin"):
        with pytest.raises(ValueError, match="is not known; known are Hz, kHz, mHz, MHz, rad/s"):
            times.unit_factor("frequency", unit)
    for unit, metres in (("m", 2), ("km", 2000), ("feet", 0.6096), ("Metres", 2)):
        assert times.to_metres(2.0, unit) == (pytest.approx(metres), "m")
    assert times.to_metres(2.0, "degrees") == (2.0, "degrees")
    assert times.same_rate(100, float(np.float32(1 / np.float32(0.01))))
    assert not times.same_rate(1e-3, 1.1e-3)


def test_data_beyond_a_far_gap_are_refused():
    starts = T2020 + 20 * DAY * np.arange(20)  # short files, days apart
    good = [(int(start), int(start) + 600 * 10**9, f"g{k}") for k, start in enumerate(starts)]
    times.refuse_far_gap(good)
    match = "g0: starts 2020-01-01T00:00:00.000000Z, 40 years after the data before, of b: more"
    with pytest.raises(DataError, match=match):
        times.refuse_far_gap([*good, (315964800 * 10**9, 315964805 * 10**9, "b")])
    late = T2020 + 100 * DAY
    times.refuse_far_gap([(T2020, T2020 + 10 * DAY, "a"), (late, late + 1, "b")])  # 90 days


def days(first, n, step=1):
    return np.datetime64(first, "us") + np.arange(n) * np.timedelta64(step, "D")


@pytest.mark.parametrize(("parts", "far"), [
    ([["2262-01-01", "1900-01-01", "NaT", "1970-01-01"], days("2016-01-01", 100)],
     ["2262-01-01", "1900-01-01", "1970-01-01"]),
    ([days("2016-01-01", 1000), days("2008-01-01", 2)], ["2008-01-01", "2008-01-02"]),
    ([days("2016-01-01", 100), days("2019-01-01", 80)], []),  # two deployments
    ([days("1990-01-01", 10000), ["1970-01-01"]], []),  # an axis less than doubled
    ([days("2016-01-01", 100), days("1950-01-01", 30, 500)], []),  # more than 2 %
    ([["2016-01-01", "1970-01-01"]], []), ([["NaT"]], []),
])  # fmt: skip
def test_times_of_a_wrong_clock_are_far(parts, far):
    values = np.concatenate([np.asarray(part, dtype="M8[us]") for part in parts])
    assert [str(time)[:10] for time in values[times.far_times(values)]] == far
    assert times.far_times(values.astype("M8[ns]").astype(np.int64)).sum() == len(far)
