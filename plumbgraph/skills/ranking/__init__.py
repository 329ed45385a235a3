"""Which skill fits a request: analysis, index, scoring and an honest verdict."""
