"""Made-up patients whose sample mean, SD and correlation are exactly what is asked for."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lungperfusion.results.tables import COLUMNS
from lungperfusion.terms import MEASURES


def exact_sample(mean, sd, n, seed=0):
    """Standardise a draw, then scale and shift it: mean and SD are those asked for."""
    values = np.random.default_rng([seed, n]).normal(size=n)
    values = (values - values.mean()) / values.std(ddof=1)
    return mean + sd * values


def exact_pair(r, n, seed=0):
    """Two standardised columns whose Pearson correlation is exactly r."""
    x = exact_sample(0, 1, n, seed)
    rest = exact_sample(0, 1, n, seed + 1)
    rest = rest - rest @ x / (x @ x) * x
    rest = (rest - rest.mean()) / rest.std(ddof=1)
    return x, r * x + np.sqrt(1 - r**2) * rest


def tidy_rows(values, region="lungs", module="ipv", **others):
    """Rows of cohort_tidy.csv from ``{measure: {case: value}}``."""
    rows = []
    for measure, by_case in values.items():
        for case, value in by_case.items():
            row = {
                "case": case,
                "module": module,
                "region": region,
                "measure": measure,
                "value": repr(float(value)),
                "unit": MEASURES[measure].unit,
                "method": "made up",
                "status": "ok",
                "reason": "",
            }
            rows.append({**row, **others})
    return rows


def write_csv(path: Path, rows: Sequence[dict], columns: Sequence[str] | None = None) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns or list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def tables(tmp_path) -> Callable[..., tuple[Path, Path]]:
    """``tables(tidy, clinical)``: both as files."""

    def write(tidy, clinical, folder="in"):
        (tmp_path / folder).mkdir(exist_ok=True)
        return (
            write_csv(tmp_path / folder / "cohort_tidy.csv", tidy, COLUMNS),
            write_csv(tmp_path / folder / "clinical.csv", clinical),
        )

    return write


def made_up_cohort(n=60, seed=7):
    """Patients of the iodine letter's kind: IPv falls with DLCO, volume with FVC."""
    rng = np.random.default_rng(seed)
    names = [f"P{number:03d}" for number in range(1, n + 1)]
    fvc = rng.normal(94, 20, n).clip(40, 150)
    dlco = (40 + 0.3 * fvc + rng.normal(0, 15, n)).clip(20, 130)
    ipv = 120 + 1.0 * dlco + rng.normal(0, 60, n)
    values = {
        "ipv": ipv.clip(20),
        "iodine_mean": rng.normal(46, 15, n).clip(5),
        "tlv": (1.2 + 0.04 * fvc + rng.normal(0, 0.7, n)).clip(1.0),
        "mld": rng.normal(-820, 25, n),
        "ggo": rng.gamma(2, 2, n).clip(0, 60),
        "consolidation_share": rng.gamma(1, 1, n).clip(0, 30),
    }
    tidy = tidy_rows({m: dict(zip(names, v, strict=True)) for m, v in values.items()})
    clinical = [
        {
            "case": name,
            "age_years": f"{rng.normal(49, 12):.0f}",
            "sex": "m" if rng.random() < 0.56 else "f",
            "mrc": str(rng.integers(1, 6)),
            "fev1_pct": f"{fvc[k] * 0.95:.1f}",
            "fvc_pct": f"{fvc[k]:.1f}",
            "fev1_fvc_pct": f"{rng.normal(93, 8):.1f}",
            "tlc_pct": f"{rng.normal(81, 14):.1f}",
            "dlco_pct": f"{dlco[k]:.1f}",
            "kco_pct": f"{rng.normal(82, 13):.1f}",
            "sao2_pct": f"{min(100.0, rng.normal(96.7, 2)):.1f}",
            "pao2_mmhg": f"{rng.normal(85, 8):.1f}",
            "paco2_mmhg": f"{rng.normal(38, 3):.1f}",
            "oxygen_l_min": str(rng.integers(0, 5)),
            "d_dimer": f"{rng.lognormal(0.5, 1):.2f}",
            "d_dimer_unit": "mg/L",
            "d_dimer_assay": "FEU",
            "improved": str(int(ipv[k] + rng.normal(0, 40) > 190)),
        }
        for k, name in enumerate(names)
    ]
    return tidy, clinical
