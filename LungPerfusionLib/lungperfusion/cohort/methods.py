"""The statistics paragraph of a paper, from what was run."""

from __future__ import annotations

from collections.abc import Mapping

import lungperfusion
from lungperfusion.cohort.comparisons import BOOTSTRAPS, LEAST_EXPECTED
from lungperfusion.cohort.discrimination import FOLDS, REPEATS
from lungperfusion.cohort.study import Study

_HOW = {
    "Welch t": "means of two groups were compared with Welch's t-test",
    "Student t": "means of two groups were compared with Student's t-test",
    "Mann-Whitney U": "ranks of two groups were compared with the Mann-Whitney test (effect: "
    "chance of a larger value in the first group, DeLong interval)",
    "Welch ANOVA": "means of three or more groups were compared with Welch's analysis of variance "
    "(effect: eta squared)",
    "Kruskal-Wallis H": "ranks of three or more groups were compared with the Kruskal-Wallis test "
    "(effect: epsilon squared, bootstrap interval)",
    "chi-squared": "proportions were compared with the chi-squared test without continuity "
    "correction",
    "Fisher exact": f"proportions with an expected count below {LEAST_EXPECTED:g} were compared "
    "with Fisher's exact test",
}


def methods_text(study: Study, versions: Mapping[str, str]) -> str:
    """Write the paragraph, ready to paste.

    Parameters
    ----------
    study
        What was run.
    versions
        Of Python and the libraries.

    """
    paragraphs = (_cases(study), _groups(study), _relations(study), _others(study))
    software = ", ".join(f"{name} {version}" for name, version in versions.items())
    last = (
        f"Analyses were made with LungPerfusion {lungperfusion.__version__} ({software}). Random "
        "draws have seeds made from the data, so that results repeat."
    )
    return "\n\n".join(filter(None, (*paragraphs, last))) + "\n"


def _cases(study: Study) -> str:
    cohort = study.cohort
    alone = len(cohort.unmatched)
    sentences = [
        f"{len(cohort.frame)} cases had both CT measurements and clinical data; {alone} that stood "
        "in one table only were excluded." if alone else
        f"All {len(cohort.frame)} cases had both CT measurements and clinical data.",
        "Values that were missing were not imputed; every test used the cases that had the values "
        "it needs, with their number given.",
    ]  # fmt: skip
    return " ".join(sentences + list(study.cautions))


def _groups(study: Study) -> str:
    used = {test.result.test for test in study.table_one.tests}
    shows = {row.show for row in study.table_one.rows}
    sentences = []
    if shows & {"mean_sd", "both"}:
        sentences.append("Continuous values are given as mean ± standard deviation")
        if study.table_one.median_added:
            sentences[-1] += (
                ", with median [quartiles] beside where skewness exceeded 1 or the Shapiro-Wilk "
                "test gave p < 0.01; the test was not changed for that"
            )
        sentences[-1] += "."
    if "median_iqr" in shows:
        sentences.append("Continuous values are given as median [quartiles] where said.")
    sentences.append("Categories are given as count/number with values (percent).")
    if study.table_one.coded:
        words = ", ".join(study.table_one.coded)
        sentences.append(f"Whole numbers that are codes or grades count as categories ({words}).")
    hows = [_HOW[name] for name in _HOW if name in used]
    if hows:
        text = "; ".join(hows)
        sentences.append(f"{text[0].upper()}{text[1:]}.")
        sentences.append(
            "Differences are given with 95 % confidence intervals (proportions: Newcombe; Cramér's "
            f"V: {BOOTSTRAPS} bootstrap draws)."
        )
        families = {test.contrast.label: test.family_size for test in study.table_one.tests}
        words = ", ".join(f"{label}: {size}" for label, size in families.items())
        sentences.append(
            f"P-values are two-sided; Holm's adjustment within each comparison is given beside "
            f"(tests: {words}). No variable that made the groups was tested between them."
        )
    return " ".join(sentences)


def _relations(study: Study) -> str:
    if not study.relations:
        return ""
    return (
        "Pairs of variables were related by Pearson's r (interval by Fisher's z), Spearman's rho "
        "(Fisher's z with the variance of Bonett and Wright) and Kendall's tau-b (bootstrap "
        "interval; above 1000 pairs Fieller's), and by linear regression with heteroscedasticity-"
        "robust (HC3) standard errors; R² has the interval of r squared. Cases with Cook's "
        "distance above 4/n are listed. Holm's adjustment covers all "
        f"{len(study.relations)} pairs of each coefficient."
    )


def _others(study: Study) -> str:
    sentences = []
    if study.lobar:
        sentences.append(
            "Lobar shares were related by a linear mixed model with a random intercept per patient "
            "(restricted maximum likelihood), lobe and lobe size held fixed, and compared with the "
            "correlation that lobe size alone gives."
        )
    if study.rocs:
        sentences.append(
            "Discrimination was described by the area under the receiver operating characteristic "
            "(DeLong interval on the logit scale) and by operating points with Wilson intervals; "
            f"cut-offs were tested on unseen cases by {REPEATS} times repeated stratified "
            f"{FOLDS}-fold cross-validation, and calibration by slope and intercept of the "
            "cross-validated logistic predictions."
        )
    if study.retests:
        sentences.append(
            "Repeated measurements were compared by intraclass correlations (two-way random, "
            "absolute agreement, single measurement, ICC(2,1); two-way mixed, consistency, "
            "ICC(3,1)), the smallest detectable change (1.96 √2 SEM) and Bland-Altman limits of "
            "agreement with intervals."
        )
    return " ".join(sentences)
