"""What the user typed against a pydantic model, and the first mistake as a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from frostline.cache.errors import InputError

M = TypeVar("M", bound=BaseModel)
Place = tuple[int | str, ...]


def validated(
    model: type[M],
    data: Mapping[str, Any],
    where: str,
    key: str = "key",
    options: Mapping[str, str] | None = None,
) -> M:
    """Make a model of what the user typed.

    Parameters
    ----------
    where : str
        What sentences begin with: a file, "Head 'knn'".
    key : str
        What its fields are called there.
    options : mapping, optional
        Fields that were typed as options of a command, with the words that were typed, such as
        `{"C": "--set C"}`: sentences name those instead.

    Raises
    ------
    InputError
        If a key is unknown (the valid ones are listed) or missing, or a value cannot be.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [(_place(each["loc"], data, each["type"]), each) for each in error.errors()]
    # Of the branches of a union, the one that got furthest is what the user meant.
    place, first = max(found, key=lambda one: (one[1]["type"] == "extra_forbidden", len(one[0])))
    name = ".".join(map(str, place))
    if first["type"] == "extra_forbidden":
        names = ", ".join(_model_at(model, place).model_fields) or "none"
        raise InputError(f"{where} has no {key} {name!r}: there are {names}.")
    if first["type"] == "missing":
        raise InputError(f"{where} lacks the {key} {name!r}: add it.")
    option = (options or {}).get(str(place[0])) if place else None
    value = first["input"]
    rules = [_rule(each["msg"]) for at, each in found if at == place and each["input"] is value]
    rule = " or ".join(dict.fromkeys(rules)).replace(" or be ", " or ")
    raise InputError(f"{option or f'{where}: {name}'} must {rule}, not {value!r}.")


def _place(location: tuple[Any, ...], data: Any, kind: str) -> Place:
    """Keep of pydantic's location what is in the data: not the names of a union's branches."""
    found: list[int | str] = []
    for number, part in enumerate(location, start=1):
        is_item = isinstance(data, list | tuple) and isinstance(part, int)
        if is_item or (isinstance(data, Mapping) and part in data):
            data = data[part]
        elif kind != "missing" or number < len(location):
            continue
        found.append(part)
    return tuple(found)


def _rule(message: str) -> str:
    """Turn "Input should be a valid integer, got a number …" into "be a valid integer"."""
    bare = re.sub(r"^Value error, |, (unable|got|not) .*$| or instance of \w+$", "", message)
    words = re.sub(r"^(Input|List|Dictionary|String|Tuple) should | after validation$", "", bare)
    return words if words.startswith(("be ", "have ")) else f"be {words}"


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel]:
    for part in place[:-1]:
        if part in model.model_fields:
            model = next(_models_in(model.model_fields[str(part)].annotation))
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
