"""Small random task worlds for hypothesis: every one of them is possible."""

from hypothesis import strategies as st

from unseen.worlds import TaskSpec


@st.composite
def tasks(draw, examples: int = 40) -> TaskSpec:
    """A task with few letters, so that strings repeat, overlap and run out."""
    letters = draw(st.integers(2, 6))
    x, y = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    while letters**x < 4:
        x += 1
    while letters**y < 4:
        y += 1
    taken = 2 if x == y else 1  # strings of a pattern's length that one unseen rule holds
    unseen = draw(st.integers(1, min(6, (letters**x - 2) // taken, letters**y - 2)))
    occurrences, *also = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True))
    most = max([occurrences, *also])
    return TaskSpec(
        alphabet="abcdef"[:letters],
        instructions=draw(st.integers(1, min(12, letters**x - taken * unseen))),
        examples=examples,
        pattern_length=x,
        replacement_length=y,
        input_length=most * x + draw(st.integers(0, 5)),
        occurrences=occurrences,
        no_op_share=draw(st.sampled_from([0.0, 0.3, 1.0])),
        unseen_instructions=unseen,
        rule_seed=draw(st.integers(0, 9)),
        example_seed=draw(st.integers(0, 9)),
        also_occurrences=",".join(map(str, also)),
        cipher=draw(st.sampled_from(["", "shift:1", "substitution:3"])),
    )
