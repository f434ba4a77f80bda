"""Cells that are never good, and files of any bytes, likely and unlikely ones."""

from hypothesis import strategies as st

from unseen.runs.tables import COLUMNS

BAD = {  # never good, whatever the field and the rest of the row
    int: [" ", "x", "1.5", "True", "None", "nan", "inf", "-1", "--1", "0x10", "1,000", "=1+1", "\0", '"',
          "__import__('os').abort()", "9" * 19, "9" * 5_000, "1.000", "1 000", "1e-3", "1e99",
          "1.5e0", "٣", "−1"],
    float: [" ", "x", "nan", "inf", "-inf", "1e400", "1000.5", "-1", "0,5", ".", "e5", "True", "=1*2", "\0"],
    str: [" ", "modern ", "aa", "a b", "=1+1", "nan.", "a,b", '"a"', "→", "|", "a\0", "ab" * 2_000],
}  # fmt: skip
PIECES = [name.encode() for name in COLUMNS]
PIECES += [text.encode() for texts in BAD.values() for text in texts if len(text) < 99]
PIECES += [b";", b"\t", b"sep=;\n", b"1.000", b"1e3", b"64.0"]
PIECES += [b",", b"\n", b"\r", b"\r\n", b'"', b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"64", b"72"]


def raw_tables() -> st.SearchStrategy[bytes]:
    """Any bytes, and pieces of tables, under a header or not."""
    pieces = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)
    headers = st.sampled_from([name.encode() + b"\n" for name in sorted(COLUMNS)])
    under_header = st.tuples(headers, pieces).map(b"".join)
    return st.one_of(st.binary(max_size=200), pieces, under_header)
