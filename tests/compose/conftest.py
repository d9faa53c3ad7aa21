"""Prints the figures that tests measured, also of those that passed."""


def pytest_configure(config):
    config.figures = []


def pytest_terminal_summary(terminalreporter, config):
    for line in config.figures:
        terminalreporter.write_line(line)
