"""What a reviewer asks of a diagnostic study, from predictions: `docs/clinical.md`."""
