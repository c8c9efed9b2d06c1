"""From the results of many cases and a clinical table to the tables and figures of a paper."""
