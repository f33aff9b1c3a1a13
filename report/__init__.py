"""From predictions to evidence: metrics, intervals, tables and pages."""
