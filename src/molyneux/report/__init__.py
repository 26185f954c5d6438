"""Results as text: numbers, tables in Markdown, CSV or LaTeX, and lists of units."""
