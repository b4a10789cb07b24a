"""Curation of datasets: checks, contact sheets, exact statistics, copies of chosen parts."""
