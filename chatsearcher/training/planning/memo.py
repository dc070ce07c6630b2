"""Counting the same networks once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def once_per_shape(counted: Callable[..., Result]) -> Callable[..., Result]:
    """Remember what was counted of a configuration, the function's first argument.

    Configurations can be changed and have no hash; what they say does. The results must be such as
    nobody changes.
    """
    known: dict[Any, Result] = {}

    @functools.wraps(counted)
    def remembered(config: Any, *places: Any, **names: Any) -> Result:
        key = (config.to_json_string(use_diff=False), places, tuple(sorted(names.items())))
        if key not in known:
            known[key] = counted(config, *places, **names)
        return known[key]

    return remembered
