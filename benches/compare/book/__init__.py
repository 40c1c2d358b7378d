"""The comparisons of benches/compare/run: one file for each kind of peer."""
