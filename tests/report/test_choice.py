import numpy as np
import pytest

from RISCluster.report.choice import summary, verdicts
from tests.clustering.test_selection import row

NOTHING = [np.nan] * 4


def rows(**others):
    """K of 2 to 5; what is not given is the same for all, or rises or falls with K."""
    columns = {
        "bic": [9, 3, 4, 6], "inertia": [10, 4, 3, 2], "stability": [0.9, 0.96, 0.95, 0.6],
        "stability_std": [0.05] * 4, "silhouette": [0.1] * 4, "aic": [-2, -3, -4, -5],
        "gap": [2, 3, 4, 5], "gap_std": [0.1] * 4,
    } | others  # fmt: skip
    return [
        row(k, **{name: values[k - 2] for name, values in columns.items()}) for k in range(2, 6)
    ]


@pytest.mark.parametrize(
    ("criterion", "values", "k", "words"),
    [
        ("bic", {}, 3, "BIC is lowest at K = 3: one more Gaussian"),
        ("aic", {}, 5, "AIC is still falling at K = 5, the last one fitted"),
        ("silhouette", {}, 2, "highest at K = 2, 0.10: clusters that touch"),
        ("silhouette", {"silhouette": [0.1, 0.7, 0, 0]}, 3, "0.70: compact clusters"),
        ("silhouette", {"silhouette": NOTHING}, None, "has no value: it needs two clusters"),
        ("gap", {}, None, "still rises by more than its standard error at K = 5"),
        ("gap", {"gap": [1, 2, 2, 2]}, 3, "takes K = 3, the first whose gap"),
        ("inertia", {}, 3, "knee at K = 3, furthest below the chord"),
        ("inertia", {}, 3, "here 2 to 5"),
        ("inertia", {"inertia": [1] * 4}, None, "has no knee"),
        ("stability", {}, 4, "Rand index of 0.95 (standard deviation 0.05"),
        ("stability", {"stability": NOTHING}, None, "Stability was not computed"),
        ("stability", {"stability": [0.5, 0.4, 0.49, 0.2]}, 4, "at best with an adjusted Rand "
         "index of 0.50 (K = 4"),
    ],
)  # fmt: skip
def test_a_sentence_each(criterion, values, k, words):
    found = {verdict.name: verdict for verdict in verdicts(rows(**values))}
    assert list(found) == ["bic", "aic", "silhouette", "gap", "inertia", "stability"]
    assert found[criterion].n_clusters == k
    assert words in found[criterion].sentence


def test_summary():
    assert summary(verdicts(rows()), 3, "bic") == (
        "K = 3 was selected by BIC. Within 1 of it: silhouette, knee of the inertia, stability. "
        "Others would take: AIC 5."
    )
    text = summary(verdicts(rows(bic=[4, 3, 2, 1], stability=[1, 0, 0, 0])), 5, "bic")
    assert "Within 1 of it: AIC." in text
    assert text.endswith("Others would take: silhouette 2, knee of the inertia 3, stability 2.")
