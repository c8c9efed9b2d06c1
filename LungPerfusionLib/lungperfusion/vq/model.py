"""Logistic model with its validation and provenance, kept as readable JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lungperfusion.errors import InputError
from lungperfusion.naming import named

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class LogisticModel:
    """Probability of an outcome from features, ``1 / (1 + exp(-(a + sum b_k z_k)))``.

    ``z_k`` is feature k minus its mean, over its SD, both of the training table.
    """

    purpose: str
    features: tuple[str, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    validation: Mapping[str, Any] = field(default_factory=dict)
    """Cross-validated figures; see `lungperfusion.cohort.training`."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def probability(self, values: Mapping[str, float]) -> float:
        """Probability for one case; NaN if a feature is missing."""
        row = [float(values.get(name, math.nan)) for name in self.features]
        z = (np.array(row) - self.means) / self.sds
        logit = self.intercept + float(z @ np.array(self.coefficients))
        return math.nan if math.isnan(logit) else float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))

    def to_json(self) -> str:
        """Readable text; the same model gives the same text."""
        record = {
            "format": FORMAT,
            "purpose": self.purpose,
            "notice": "Research software. Not for diagnosis.",
            "intercept": self.intercept,
            "features": [
                {"name": n, "mean": m, "sd": s, "coefficient": c}
                for n, m, s, c in zip(
                    self.features, self.means, self.sds, self.coefficients, strict=True
                )
            ],
            "validation": dict(self.validation),
            "provenance": dict(self.provenance),
        }
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"

    def require_purpose(self, purpose: str) -> None:
        """Refuse a model that was trained for something else.

        Raises
        ------
        InputError
            If it was.

        """
        if self.purpose != purpose:
            raise InputError(
                f"a model of {purpose} is needed; the given one was trained for {self.purpose}"
            )

    @classmethod
    def from_record(cls, record: Any) -> LogisticModel:
        """Make a model of what the JSON of `to_json` holds.

        Raises
        ------
        InputError
            If it is not such a model.

        """
        try:
            rows = record["features"]
            if record["format"] != FORMAT:
                raise InputError(
                    f"the model has format {record['format']}, this version reads {FORMAT}; "
                    "train it again"
                )
            model = cls(
                purpose=str(record["purpose"]),
                features=tuple(str(row["name"]) for row in rows),
                means=tuple(float(row["mean"]) for row in rows),
                sds=tuple(float(row["sd"]) for row in rows),
                coefficients=tuple(float(row["coefficient"]) for row in rows),
                intercept=float(record["intercept"]),
                validation=dict(record["validation"]),
                provenance=dict(record["provenance"]),
            )
            numbers = (model.intercept, *model.means, *model.sds, *model.coefficients)
            if not (all(map(math.isfinite, numbers)) and min(model.sds, default=0.0) > 0):
                raise ValueError("numbers that no training gives")
            return model
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                "the model file is not a model that `lungperfusion train` wrote "
                f"({type(error).__name__}: {named(error)}); train it again"
            ) from error
