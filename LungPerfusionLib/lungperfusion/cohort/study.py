"""Everything that one study of a cohort yields: tables, figures, sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.cohort import embolism, lobar
from lungperfusion.cohort.comparisons import holm
from lungperfusion.cohort.discrimination import Discrimination, discriminate
from lungperfusion.cohort.joining import EXCLUDED_COLUMNS, Cohort
from lungperfusion.cohort.libraries import pandas
from lungperfusion.cohort.phenotypes import Phenotypes, phenotypes, response_rates, with_derived
from lungperfusion.cohort.reading import D_DIMER
from lungperfusion.cohort.relations import Correlation, Regression, correlate, regress
from lungperfusion.cohort.repeatability import Repeatability, repeatability
from lungperfusion.cohort.specification import (
    LobarSpec,
    Relation,
    RocSpec,
    Specification,
    condition,
)
from lungperfusion.cohort.tables import TableOne, meets_number, members, table_one
from lungperfusion.errors import InputError
from lungperfusion.naming import named
from lungperfusion.progress import Progress, ignore
from lungperfusion.results.analysis import Table
from lungperfusion.terms import LOBES
from lungperfusion.vq.comparison import Agreement

Values = NDArray[np.float64]

CORRELATION_COLUMNS = (
    "x", "y", "method", "n", "estimate", "lower", "upper", "p", "p_holm", "interval", "reason",
)  # fmt: skip
REGRESSION_COLUMNS = (
    *("x", "y", "n", "slope", "slope_lower", "slope_upper", "intercept", "intercept_lower"),
    *("intercept_upper", "r_squared", "r_squared_lower", "r_squared_upper", "p", "p_classical"),
    *("influential", "reason"),
)
INFLUENCE_COLUMNS = ("x", "y", "case", "cook_distance", "limit")
ROC_COLUMNS = (
    *("score", "outcome", "n", "positives", "positive_when", "auc", "auc_lower", "auc_upper"),
    *("unseen_sensitivity", "unseen_specificity", "calibration_slope", "calibration_slope_lower"),
    *("calibration_slope_upper", "calibration_intercept", "calibration_intercept_lower"),
    *("calibration_intercept_upper", "caution", "reason"),
)
POINT_COLUMNS = (
    *("score", "outcome", "rule", "cut_off", "sensitivity", "sensitivity_lower"),
    *("sensitivity_upper", "true_positive", "positives", "specificity", "specificity_lower"),
    *("specificity_upper", "true_negative", "negatives"),
)
LOBAR_COLUMNS = (
    *("x", "y", "patients", "lobes", "pearson", "null_pearson", "partial_pearson", "slope"),
    *("slope_lower", "slope_upper", "p", "subject_sd", "residual_sd", "reason"),
)
RETEST_COLUMNS = (
    "column", "n", *(name for name in Repeatability.__slots__ if name not in ("count", "reason")),
    "reason",
)  # fmt: skip
_YES = frozenset({"1", "1.0", "yes", "true"})
_NO = frozenset({"0", "0.0", "no", "false"})


@dataclass(frozen=True, kw_only=True)
class RelationResult:
    """Two columns, the pairs that both have, and what relates them."""

    x: str
    y: str
    cases: tuple[str, ...]
    pairs: Values
    """Shape (pairs, 2)."""
    correlations: tuple[Correlation, ...]
    regression: Regression


@dataclass(frozen=True, kw_only=True)
class RocResult:
    """A score and what it tells."""

    score: str
    outcome: str
    found: Discrimination


@dataclass(frozen=True, kw_only=True)
class LobarResult:
    """Lobes of all patients."""

    spec: LobarSpec
    rows: tuple[Mapping[str, Any], ...]
    """With ``case``, ``region``, ``x``, ``y``, ``size``."""
    agreement: Agreement | None
    model: lobar.RandomIntercept | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RetestResult:
    """One column measured twice."""

    column: str
    first: Values
    second: Values
    found: Repeatability


@dataclass(frozen=True, kw_only=True)
class Study:
    """Results of a cohort, ready to be written."""

    cohort: Cohort
    specification: Specification
    table_one: TableOne
    relations: tuple[RelationResult, ...] = ()
    rocs: tuple[RocResult, ...] = ()
    lobar: tuple[LobarResult, ...] = ()
    retests: tuple[RetestResult, ...] = ()
    phenotypes: Phenotypes | None = None
    tables: Mapping[str, Table] = field(default_factory=dict)
    """By file name without suffix."""
    cautions: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """What the layout asks for and the tables do not have."""


def carry_out(
    cohort: Cohort,
    specification: Specification,
    *,
    retest: Cohort | None = None,
    convert_ddu: bool = False,
    progress: Progress = ignore,
) -> Study:
    """Do everything that a specification asks for.

    Parameters
    ----------
    cohort
        Joined tables.
    specification
        What to show.
    retest
        The same cases measured again.
    convert_ddu
        Consent to doubling D-dimers in DDU.

    """
    cohort = with_derived(cohort)
    contexts = findings_of(cohort, convert=convert_ddu) if D_DIMER in cohort.frame else {}
    if contexts:
        cohort = _in_one_unit(cohort, contexts)
    specification, left_out = _possible(cohort, specification)
    given = {cohort.column(row.column): row.label for row in specification.rows if row.label}
    cohort = replace(cohort, labels={**cohort.labels, **given})
    progress(0.1, "comparing groups")
    table = table_one(cohort, specification)
    progress(0.4, "relating columns")
    relations = tuple(_relate(cohort, relation) for relation in specification.relations)
    rocs = tuple(_roc(cohort, spec) for spec in specification.rocs)
    lobes = tuple(_lobar(cohort, spec) for spec in specification.lobar)
    progress(0.7, "repeated measurements and phenotypes")
    columns = [cohort.column(row.column) for row in specification.rows]
    retests = () if retest is None else _retests(cohort, retest, columns)
    found = phenotypes(cohort)
    used = _used(cohort, specification)
    tables = {
        "table1": table.table,
        "tests": table.test_table(),
        "correlations": _correlation_table(relations),
        "regressions": _regression_table(relations),
        "influence": _influence_table(relations),
        "roc": _roc_table(rocs),
        "operating_points": _point_table(rocs),
        "lobar": _lobar_table(lobes),
        "retest": _retest_table(retests),
        "phenotypes": found.cases,
        "phenotype_counts": found.counts,
        "response": response_rates(cohort, found),
        **(embolism.tables(contexts) if contexts else {}),
    }
    always = {"table1", "tests", "phenotypes", "phenotype_counts"}
    tables = {name: table for name, table in tables.items() if table.rows or name in always}
    tables["excluded"] = Table(EXCLUDED_COLUMNS, tuple(cohort.excluded(used)))
    return Study(
        cohort=cohort,
        specification=specification,
        table_one=table,
        relations=relations,
        rocs=rocs,
        lobar=lobes,
        retests=retests,
        phenotypes=found,
        tables=tables,
        cautions=(
            *cohort.cautions(used),
            *_empty_groups(cohort, specification),
            *_assays(contexts),
            *(r.found.caution for r in rocs if r.found.caution),
        ),
        left_out=left_out,
    )


def _possible(cohort: Cohort, spec: Specification) -> tuple[Specification, tuple[str, ...]]:
    """Specification without what names columns that are not there, where that is allowed."""
    lacking: list[str] = []

    def there(*names: str) -> bool:
        missing = [name for name in names if not cohort.has(name)]
        if missing and not spec.optional:
            cohort.column(missing[0])  # says what is meant instead
        lacking.extend(missing)
        return not missing

    groups = tuple(g for g in spec.groups if there(*(c.column for c in g.where)))
    kept = replace(
        spec,
        groups=groups,
        contrasts=tuple(c for c in spec.contrasts if set(c.groups) <= set(groups)),
        rows=tuple(row for row in spec.rows if there(row.column)),
        relations=tuple(r for r in spec.relations if there(r.x, r.y)),
        rocs=tuple(r for r in spec.rocs if there(r.score, r.outcome)),
    )
    shown = [(cohort.column(row.column), row.level, row.show, row.test) for row in kept.rows]
    _refuse_twice("row", [" ".join(entry) for entry in shown], [entry[0] for entry in shown])
    labels = [group.label for group in kept.groups]
    _refuse_twice("group", labels, labels)
    if not kept.rows:
        raise InputError("no row of the table is in the measurements or the clinical table")
    for relation in kept.relations:
        for name in (relation.x, relation.y):
            if not cohort.is_number(cohort.column(name)):
                raise InputError(f"{named(name)} holds words and cannot be related to anything")
        if cohort.column(relation.x) == cohort.column(relation.y):
            raise InputError(f"{named(relation.x)} cannot be related to itself")
    for group in kept.groups:
        members(cohort, group)
    return kept, tuple(f"{name}: in neither table" for name in dict.fromkeys(lacking))


def _refuse_twice(what: str, keys: Sequence[str], names: Sequence[str]) -> None:
    """Refuse what would be tested twice and counted twice in Holm's adjustment."""
    for key, name in zip(keys, names, strict=True):
        if keys.count(key) > 1:
            raise InputError(f"the {what} {named(name)} is asked for twice; name it once")


def _used(cohort: Cohort, spec: Specification) -> list[str]:
    names = [row.column for row in spec.rows]
    names += [c.column for group in spec.groups for c in group.where]
    names += [name for r in spec.relations for name in (r.x, r.y)]
    names += [name for r in spec.rocs for name in (r.score, r.outcome)]
    return list(dict.fromkeys(cohort.column(name) for name in names))


def _relate(cohort: Cohort, relation: Relation) -> RelationResult:
    x, y = cohort.column(relation.x), cohort.column(relation.y)
    both = cohort.frame[[x, y]].dropna()
    pairs = both.to_numpy(np.float64)
    return RelationResult(
        x=x,
        y=y,
        cases=tuple(map(str, both.index)),
        pairs=pairs,
        correlations=correlate(pairs[:, 0], pairs[:, 1]),
        regression=regress(pairs[:, 0], pairs[:, 1]),
    )


def _roc(cohort: Cohort, spec: RocSpec) -> RocResult:
    score, outcome = cohort.column(spec.score), cohort.column(spec.outcome)
    if score == outcome:
        raise InputError(f"{named(spec.score)} cannot be the score and the outcome at once")
    both = cohort.frame[[score, outcome]].dropna()
    if not cohort.is_number(score):
        raise InputError(f"{named(spec.score)} holds words and is no score")
    words = outcome
    if spec.positive:
        rule = condition(f"{spec.outcome} {spec.positive}")
        if math.isnan(rule.number) or not cohort.is_number(outcome):
            answers = both[outcome].astype(str).str.casefold() == rule.value.casefold()
        else:
            answers = meets_number(both[outcome], rule)
        words = f"{outcome} {spec.positive}"
    else:
        said = both[outcome].astype(str).str.casefold()
        unknown = sorted(set(said) - _YES - _NO)
        if unknown:
            raise InputError(
                f"the outcome {named(outcome)} must hold 0 and 1 or no and yes, not "
                f"{named(unknown[0])}; or say with 'positive' which values count"
            )
        answers = said.isin(_YES)
    found = discriminate(
        both[score].to_numpy(np.float64), answers.to_numpy(np.int64), spec.cut_offs
    )
    return RocResult(score=score, outcome=words, found=found)


def _lobar(cohort: Cohort, spec: LobarSpec) -> LobarResult:
    columns = {
        lobe.value: [cohort.column(f"{name}.{lobe.value}") for name in (spec.x, spec.y, spec.size)]
        for lobe in LOBES
    }
    rows = []
    for lobe, found in columns.items():
        for case, values in cohort.frame[found].dropna().iterrows():
            entry = dict(zip(("x", "y", "size"), map(float, values), strict=True))
            rows.append({"case": str(case), "region": lobe, **entry})
    names = {"ct": "x", "reference": "y", "volume": "size"}
    try:
        agreement = lobar.agree_by_region(rows, **names).get("all")
        model = lobar.agree_within_patients(rows, **names)
    except InputError as error:
        return LobarResult(
            spec=spec, rows=tuple(rows), agreement=None, model=None, reason=str(error)
        )
    return LobarResult(spec=spec, rows=tuple(rows), agreement=agreement, model=model)


def _retests(cohort: Cohort, retest: Cohort, columns: Sequence[str]) -> tuple[RetestResult, ...]:
    out = []
    for column in columns:
        if column not in cohort.measures or column not in retest.frame:
            continue
        pair = {"first": cohort.frame[column], "second": retest.frame[column]}
        both = pandas().DataFrame(pair).dropna()
        first, second = both.to_numpy(np.float64).T
        found = repeatability(first, second)
        out.append(RetestResult(column=column, first=first, second=second, found=found))
    if not out:
        raise InputError("the repeated measurements have none of the rows that are shown")
    return tuple(out)


def _in_one_unit(cohort: Cohort, found: Mapping[str, embolism.Findings]) -> Cohort:
    """Cohort whose D-dimers are all in µg/L, as tests and relations need them."""
    values = [found[str(case)].d_dimer for case in cohort.frame.index]
    frame = cohort.frame.copy()
    frame[D_DIMER] = [math.nan if value is None else value.ug_l for value in values]
    return replace(
        cohort,
        frame=frame,
        units={**cohort.units, D_DIMER: "µg/L"},
        labels={**cohort.labels, D_DIMER: "D-dimer, µg/L"},
    )


def _assays(found: Mapping[str, embolism.Findings]) -> tuple[str, ...]:
    """Sentence on D-dimers of several assays, which one number per case cannot show."""
    values = [entry.d_dimer for entry in found.values() if entry.d_dimer is not None]
    counts = {name: sum(v.assay == name for v in values) for name in ("FEU", "DDU", "unknown")}
    if sum(count > 0 for count in counts.values()) < 2:
        return ()
    words = ", ".join(f"{name} ({count})" for name, count in counts.items() if count)
    return (f"D-dimers come from assays in {words}; DDU are doubled, unknown ones taken as FEU.",)


def _empty_groups(cohort: Cohort, spec: Specification) -> tuple[str, ...]:
    return tuple(
        f"No case is in the group {group.label}."
        for group in spec.groups
        if not members(cohort, group).any()
    )


def findings_of(cohort: Cohort, *, convert: bool = False) -> dict[str, embolism.Findings]:
    """Collect what is known of every case for the context of its D-dimer.

    Parameters
    ----------
    cohort
        With ``d_dimer`` and ``d_dimer_unit``; ``d_dimer_assay``, ``age_years``, ``deficits`` and
        ``parenchyma`` where they are known.  Extent and clot come from the measurements.
    convert
        Consent to doubling values in DDU.

    """

    def of(row: Mapping[str, Any], *names: str) -> Any:
        for name in names:
            value = row.get(cohort.column(name)) if cohort.has(name) else None
            if value is not None and value == value:  # NaN is not itself
                return value
        return None

    out = {}
    for case, row in cohort.frame.to_dict("index").items():
        value, words = of(row, D_DIMER), {n: of(row, n) for n in ("deficits", "parenchyma")}
        d_dimer = None
        try:
            if value is not None:
                unit, assay = of(row, "d_dimer_unit"), of(row, "d_dimer_assay")
                d_dimer = embolism.read_d_dimer(
                    float(value), str(unit or ""), str(assay or ""), convert=convert
                )
            out[str(case)] = embolism.Findings(
                d_dimer=d_dimer,
                age_years=of(row, "age_years"),
                extent_percent=embolism.extent_percent(
                    of(row, "ggo"), of(row, "consolidation_share")
                ),
                qanadli_percent=of(row, "qanadli_pct", "qanadli"),
                deficits=words["deficits"],
                parenchyma=words["parenchyma"],
            )
        except InputError as error:
            raise InputError(f"case {named(case)}: {error}") from error
    return out


# --------------------------------------------------------------------------------------- tables


def _ends(record: dict[str, Any]) -> dict[str, Any]:
    """Names of intervals as files have them."""
    return {
        name.replace("_low", "_lower").replace("_high", "_upper"): value
        for name, value in record.items()
    }


def _correlation_table(relations: Sequence[RelationResult]) -> Table:
    """Rows of correlations.csv; Holm's p over all pairs, for each method."""
    by_method: dict[str, list[float]] = {}
    for relation in relations:
        for entry in relation.correlations:
            by_method.setdefault(entry.method, []).append(entry.p)
    adjusted = {method: iter(holm(p)) for method, p in by_method.items()}
    rows = []
    for relation in relations:
        for entry in relation.correlations:
            values = (
                *(relation.x, relation.y, entry.method, entry.count, entry.estimate, entry.low),
                *(entry.high, entry.p, next(adjusted[entry.method]), entry.interval, entry.reason),
            )
            rows.append(dict(zip(CORRELATION_COLUMNS, values, strict=True)))
    return Table(CORRELATION_COLUMNS, tuple(rows))


def _regression_table(relations: Sequence[RelationResult]) -> Table:
    rows = []
    for relation in relations:
        record = _ends(asdict(relation.regression))
        record |= {"x": relation.x, "y": relation.y, "n": record["count"]}
        record["influential"] = " ".join(relation.cases[n] for n in record["influential"])
        rows.append({name: record[name] for name in REGRESSION_COLUMNS})
    return Table(REGRESSION_COLUMNS, tuple(rows))


def _influence_table(relations: Sequence[RelationResult]) -> Table:
    rows = [
        dict(
            zip(
                INFLUENCE_COLUMNS,
                (r.x, r.y, r.cases[n], r.regression.cook[n], r.regression.cook_limit),
                strict=True,
            )
        )
        for r in relations
        for n in r.regression.influential
    ]
    return Table(INFLUENCE_COLUMNS, tuple(rows))


def _roc_table(rocs: Sequence[RocResult]) -> Table:
    rows = []
    for entry in rocs:
        found = entry.found
        record = _ends(asdict(found))
        fitted = _ends({f"calibration_{k}": v for k, v in asdict(found.calibration).items()})
        record |= fitted | {"score": entry.score, "outcome": entry.outcome, "n": found.count}
        record["positive_when"] = "high" if found.higher_is_positive else "low"
        rows.append({name: record[name] for name in ROC_COLUMNS})
    return Table(ROC_COLUMNS, tuple(rows))


def _point_table(rocs: Sequence[RocResult]) -> Table:
    rows = []
    for entry in rocs:
        for point in entry.found.points:
            record = _ends(asdict(point)) | {"score": entry.score, "outcome": entry.outcome}
            rows.append({name: record[name] for name in POINT_COLUMNS})
    return Table(POINT_COLUMNS, tuple(rows))


def _lobar_table(results: Sequence[LobarResult]) -> Table:
    rows = []
    for entry in results:
        record: dict[str, Any] = dict.fromkeys(LOBAR_COLUMNS, math.nan)
        record |= {"x": entry.spec.x, "y": entry.spec.y, "reason": entry.reason}
        record |= {"patients": len({r["case"] for r in entry.rows}), "lobes": len(entry.rows)}
        if entry.agreement is not None:
            pooled = asdict(entry.agreement)
            record |= {n: pooled[n] for n in ("pearson", "null_pearson", "partial_pearson")}
        if entry.model is not None:
            record |= {
                "slope": entry.model.slope,
                "slope_lower": entry.model.interval[0],
                "slope_upper": entry.model.interval[1],
                "p": entry.model.p,
                "subject_sd": entry.model.subject_sd,
                "residual_sd": entry.model.residual_sd,
            }
        rows.append(record)
    return Table(LOBAR_COLUMNS, tuple(rows))


def _retest_table(retests: Sequence[RetestResult]) -> Table:
    rows = []
    for entry in retests:
        record = asdict(entry.found) | {"column": entry.column, "n": entry.found.count}
        rows.append({name: record[name] for name in RETEST_COLUMNS})
    return Table(RETEST_COLUMNS, tuple(rows))
