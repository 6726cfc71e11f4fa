"""What the recorded results in results/ say: `python -m tools.report` writes it into the pages."""
