"""An agent's own log would stand between the lines of the result: only what has failed is shown."""

import logging

import structlog


def quiet() -> None:
    """For this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
