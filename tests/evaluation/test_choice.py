import numpy as np

from RISCluster.evaluation.choice import summary, verdicts
from tests.clustering.test_selection import row

K = range(2, 6)
BIC = [9, 3, 4, 6]
INERTIA = [10, 4, 3, 2]
STABILITY = [0.9, 0.96, 0.95, 0.6]


def rows(**others):
    """K of 2 to 5; what is not given is the same for all, or rises or falls with K."""
    columns = {
        "bic": BIC, "inertia": INERTIA, "stability": STABILITY, "stability_std": [0.05] * 4,
        "silhouette": [0.1] * 4, "aic": [-2, -3, -4, -5], "gap": [2, 3, 4, 5], "gap_std": [0.1] * 4,
    } | others  # fmt: skip
    return [row(k, **{name: values[k - 2] for name, values in columns.items()}) for k in K]


def of(found):
    return {verdict.name: verdict for verdict in found}


def test_a_sentence_each():
    found = of(verdicts(rows()))
    taken = {name: verdict.n_clusters for name, verdict in found.items()}
    assert taken == {
        "bic": 3, "aic": 5, "silhouette": 2, "gap": None, "inertia": 3, "stability": 4
    }  # fmt: skip
    assert found["bic"].sentence.startswith("BIC is lowest at K = 3")
    assert "AIC is still falling at K = 5, the last one fitted" in found["aic"].sentence
    assert "highest at K = 2, 0.10: clusters that touch" in found["silhouette"].sentence
    assert "still rises by more than its standard error at K = 5" in found["gap"].sentence
    assert "knee at K = 3" in found["inertia"].sentence
    assert "here 2 to 5" in found["inertia"].sentence
    assert "Rand index of 0.95 (standard deviation 0.05" in found["stability"].sentence


def test_other_sentences():
    nothing = [np.nan] * 4
    values = {"silhouette": nothing, "inertia": [1] * 4, "stability": nothing}
    found = of(verdicts(rows(gap=[1, 2, 2, 2], **values)))
    assert found["silhouette"].sentence == "The silhouette has no value: it needs two clusters."
    assert found["inertia"].sentence == "The inertia of k-means has no knee."
    assert found["stability"].sentence.startswith("Stability was not computed")
    assert "takes K = 3, the first whose gap" in found["gap"].sentence
    found = of(verdicts(rows(stability=[0.5, 0.4, 0.49, 0.2], silhouette=[0.1, 0.7, 0, 0])))
    assert found["stability"].n_clusters == 4
    assert "No K is stable" in found["stability"].sentence
    assert "at best with an adjusted Rand index of 0.50" in found["stability"].sentence
    assert "0.70: compact clusters" in found["silhouette"].sentence


def test_summary():
    text = summary(verdicts(rows()), 3, "bic")
    assert text == (
        "K = 3 was selected by BIC. Within 1 of it: silhouette, knee of the inertia, stability. "
        "Others would take: AIC 5."
    )
    text = summary(verdicts(rows(bic=[4, 3, 2, 1], stability=[1, 0, 0, 0])), 5, "bic")
    assert "Within 1 of it: AIC." in text
    assert text.endswith("Others would take: silhouette 2, knee of the inertia 3, stability 2.")
