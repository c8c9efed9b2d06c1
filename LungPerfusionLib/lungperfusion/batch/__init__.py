"""Cohorts: hundreds of cases from one manifest, on one machine or many, nothing lost."""
