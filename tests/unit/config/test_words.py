import pytest

from maquette.config.adapter import TokensConfig
from maquette.config.words import names_in, token_map, written_out

WORDS = {"TOK": ["<s0>", "<s1>"], "TOK2": ["<s2>"], "<cat-toy>": ["<s3>"]}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a photo of TOK dog", "a photo of <s0><s1> dog"),
        ("TOK, TOK2 and TOK", "<s0><s1>, <s2> and <s0><s1>"),  # TOK stands at the beginning of TOK2
        ("TOK2's TOK-like style", "<s2>'s <s0><s1>-like style"),
        ("TOKs, my_TOK, TOK22, tok, sTOK", "TOKs, my_TOK, TOK22, tok, sTOK"),
        ("two <cat-toy>s", "two <s3>s"),
        ("", ""),
    ],
)
def test_only_whole_words_are_written_out(text, written):
    assert written_out(text, WORDS) == written
    assert written_out(text, {}) == text


def test_tokens_are_numbered_over_all_placeholders():
    assert token_map(TokensConfig(placeholders={"MUG": 2, "HAT": 1, "TOK": 3})) == {
        "MUG": ["<s0>", "<s1>"],
        "HAT": ["<s2>"],
        "TOK": ["<s3>", "<s4>", "<s5>"],
    }


def test_placeholders_are_found_once_each_in_their_order():
    assert names_in("TOK2 beside TOK and TOK2", ["TOK", "TOK2", "HAT"]) == ["TOK2", "TOK"]
    assert names_in("TOK", []) == []
