"""The grammar of a console line: words, quotes, JSON as it stands, pipes and redirections."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import ConfigError
from callboard.repl.grammar import Incomplete, Line, parse, words

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10,
)  # fmt: skip


def texts(line: str) -> list[str]:
    return [str(word) for word in parse(line).words]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", []),
        ("   # a remark, with 'an open quote", []),
        ("peek mail -n 3", ["peek", "mail", "-n", "3"]),
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        (r"a\ b", ["a b"]),
        (r'"a\"b\\c"', [r"a\"b\\c".replace('\\"', '"').replace("\\\\", "\\")]),
        ('tell shop {"item": "a } b", "n": [1, 2]} --key x',
         ["tell", "shop", '{"item": "a } b", "n": [1, 2]}', "--key", "x"]),
        ('tell shop items=[1, 2] name="John S"', ["tell", "shop", "items=[1, 2]", "name=John S"]),
        ("it''s", ["its"]),
    ],
)  # fmt: skip
def test_a_line_is_split_into_words(line: str, found: list[str]) -> None:
    assert texts(line) == found


@pytest.mark.slow
@given(JSON.filter(lambda value: isinstance(value, (dict, list))))
def test_json_is_one_word_as_it_stands(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    line = parse(f"tell mail {text} --id x | less")
    assert [json.loads(line.words[2]), line.words[4], line.pipe] == [value, "x", "less"]


@given(st.text())
def test_json_text_in_double_quotes_keeps_them_where_json_is_wanted(value: str) -> None:
    word = parse(f"tell mail {json.dumps(value)}").words[2]
    assert json.loads(word.json) == value


def test_a_pipe_takes_the_rest_of_the_line() -> None:
    line = parse("dead mail | grep 'a > b' | less")
    assert (line.text, line.pipe) == ("dead mail", "grep 'a > b' | less")


def test_a_redirection_names_one_file() -> None:
    first, second = parse("dead > 'my file'"), parse("dead >>log")
    assert (first.file, first.append, first.text) == ("my file", False, "dead")
    assert (second.file, second.append) == ("log", True)


def test_a_pipe_or_a_redirection_inside_quotes_is_text() -> None:
    line = parse('sql "select 1 | 2 > 3"')
    assert (line.words[1], line.pipe, line.file) == ("select 1 | 2 > 3", "", "")


@pytest.mark.parametrize(
    ("line", "says"),
    [("| less", "no command before '|'"), ("> file", "no command before '>'"),
     ("dead |", "no program after '|'"), ("dead >", "one file comes after '>'"),
     ("dead > a b", "nothing after it"), ("dead > a | less", "nothing after it")],
)  # fmt: skip
def test_a_pipe_that_leads_nowhere_is_refused(line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("|", r"\|")):
        parse(line)


@pytest.mark.parametrize(
    ("line", "what", "at"),
    [('tell mail {"a": [1,', "bracket", 10), ("say 'it", "quote", 4), ('x {"a', "quote", 3)],
)
def test_what_is_open_is_said_with_its_place(line: str, what: str, at: int) -> None:
    with pytest.raises(Incomplete, match=f"the {what} at character {at + 1} is never closed"):
        parse(line)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(text), Line)


@given(st.text())
def test_the_words_of_an_unfinished_line_cover_it(text: str) -> None:
    found = words(text)
    assert all(text[word.start :].startswith(word.raw) for word in found)
    assert [word.start for word in found] == sorted({word.start for word in found})
