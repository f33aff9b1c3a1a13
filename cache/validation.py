"""What the user typed: YAML, read; against a pydantic model, the first mistake as a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from frostline.cache.errors import InputError, printable

M = TypeVar("M", bound=BaseModel)
Place = tuple[int | str, ...]
# What NumPy takes as a seed, and so everything else does.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
# Grades are often numbers, and labels are text.
ClassName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
# What a file of a study has at most, anchors written out; a line of ten anchors can stand for
# billions of values.
MOST_CHARACTERS, MOST_VALUES, DEEPEST = 1_000_000, 100_000, 50


def parse_yaml(text: str) -> Any:
    """Read YAML.

    Raises
    ------
    ValueError
        With a reason in some words, if it is none, or holds more values than anyone writes, or a
        number that is none.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has more than {MOST_CHARACTERS} characters")
    try:
        found = yaml.safe_load(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} deep") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem}") from error
    # Dates that do not exist, and keys that are lists, are found by what makes them.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ValueError("it has a character or a value that cannot be read") from error
    for count, value in enumerate(_values(found), start=1):
        if count > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES} values")
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{value} is no number")
        if isinstance(value, str) and printable(value, "\n\t") != value:
            raise ValueError(f"{value!r} has a control character")
    return found


def read_yaml(path: Path) -> Any:
    """Read a YAML file; InputError if `parse_yaml` cannot."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not YAML: it is no text in UTF-8.") from error
    except ValueError as error:
        raise InputError(f"{path} is not YAML: {error}.") from error


def _values(found: Any, depth: int = 0) -> Iterator[Any]:
    """Yield every value, those of an anchor wherever it is named."""
    if depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    yield found
    if isinstance(found, dict):
        for pair in found.items():
            for value in pair:
                yield from _values(value, depth + 1)
    elif isinstance(found, list | tuple | set):
        for value in found:
            yield from _values(value, depth + 1)


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
        Fields that were typed as options of a command, or paths to them with dots, with the words
        that were typed, such as `{"C": "--set C"}`: sentences name those instead.

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
    above = (".".join(map(str, place[:count])) for count in range(len(place), 0, -1))
    option = next((options[one] for one in above if options and one in options), None)
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
