"""One module a verb: its docstring is its help, `add_arguments` its words, `run` its work and exit code."""
