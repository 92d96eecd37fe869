"""The paper's experiment: data sets, test backgrounds, runs, tables and figures."""
