"""Names of folders: what every machine can take passes unchanged, all else is refused with its reason."""

import pytest

from unseen.disk.names import BadName, check_name, shown


@pytest.mark.parametrize(
    "name",
    ["smoke", "a", "A/b/C", "with space", "  indented", "2026-05-01 second try", "{scale}", "v1.2_final", "数据/试验", "тест",
     "première", "٣", "x" * 100, "字" * 85, "/".join("abcdefgh"), "console", "con_1", "COM10", "a/store", "stored", "a..b"],
)  # fmt: skip
def test_a_fit_name_passes_unchanged(name):
    assert check_name(name, "folder") == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("..", "'..' would lie outside its place"), ("../x", "would lie outside"), ("a/../b", "would lie outside"),
        ("/a", "would lie outside"), ("//", "would lie outside"),
        ("", "'' is empty"), ("a//b", "'' is empty"), ("a/", "'' is empty"), (".", "'.' starts with '.'"),
        (".hidden", "starts with '.'"), ("-rf", "starts with '-'"), ("a/--", "'--' starts with '-'"),
        ("a ", "'a ' ends with ' '"), ("a.", "ends with '.'"), (" ", "ends with ' '"), ("a/b ./c", "'b .' ends with '.'"),
        ("x" * 101, "has 101 characters"), ("字" * 86, "takes 258 bytes"), ("a/" * 8 + "a", "has 9 parts; at most 8"),
        ("a\0b", r"holds '\x00'"), ("a\nb", r"holds '\n'"), ("a\x7f", r"holds '\x7f'"), ("a\u200db", r"holds '\u200d'"),
        ("\u202egnp", r"holds '\u202e'"), ("\ud800", r"holds '\ud800'"), ("😀", "holds '😀'"), ("a\\b", r"holds '\\'"),
        ("C:x", "holds ':'"), ("a*", "holds '*'"), ("~", "holds '~'"), ("$HOME", "holds '$'"), ("a;b", "holds ';'"),
        ("\u00a0", r"holds '\xa0'"), ("e\u0301", "holds "), ("½", "holds '½'"), ("a\tb", r"holds '\t'"),
        ("CON", "'CON' is a name that Windows keeps"), ("a/nul.txt", "'nul.txt' is a name that Windows keeps"),
        ("com1", "Windows keeps"), ("Lpt9.tar.gz", "Windows keeps"), ("aux .txt", "Windows keeps"), ("PRN/a", "Windows keeps"),
        ("store", "'store' is where the project keeps its runs"), ("Store/x", "'Store' is where"), ("ﬆore", "is where"),
    ],
)  # fmt: skip
def test_a_bad_name_is_refused_with_name_part_and_reason(name, reason):
    with pytest.raises(BadName) as refused:
        check_name(name, "output folder")
    assert reason in str(refused.value)
    assert str(refused.value).startswith(f"output folder {shown(name)}")


@pytest.mark.parametrize("name", [None, 3, b"smoke", ["smoke"]])
def test_what_is_no_text_is_no_name(name):
    with pytest.raises(BadName, match="must be text"):
        check_name(name, "output folder")


def test_a_value_is_shown_short_and_on_one_line():
    class Wide:
        def __repr__(self):
            return "two\nlines\x1b[31m"

    assert shown(Wide()) == "two lines [31m"
    assert shown("a  b") == "'a  b'"
    assert shown(10**5_000) == "a value of type int"
    assert len(shown("x" * 10**6)) == 60
