"""String rewriting, the papers' task world: a rule ``x → y``, an input z, and z with its *leftmost* x
replaced by y.

Inputs are drawn with their pattern planted at random places; those in which the pattern occurs another
number of times than intended are drawn again, so the count is exact.  The work runs on arrays of shape
(letters, examples), in which each letter position is one contiguous row of bytes; the tests check it against
``rewriting.Rule``.

    >>> TaskSpec(instructions=100).examples_per_instruction
    450.0
    >>> task = TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2, examples=6)
    >>> line = task.training(task.split()).line(0)
    >>> line.rule.apply(line.text) == line.answer
    True
    >>> TaskSpec(pattern_length=11)
    Traceback (most recent call last):
    ...
    ValueError: TaskSpec.pattern_length=11: 1 pattern(s) of 11 letters do not fit in input_length=10
"""

import re
import string

import numpy as np

from unseen.fields import Count, Length, Share, among, later, real, spec, whole
from unseen.layout import SPECIAL, Layout
from unseen.worlds.base import Examples, Split, Task, possible
from unseen.worlds.rules import FORMS, Instructions, draw_split

POSITIONS = {"before": "x→y|z=", "behind": "z|x→y=", "both": "x→y|z|x→y="}  # of a rule and its input
MIXED = "mixed"
FAMILIES = ("random", *FORMS, "mixed")
CIPHER = re.compile(r"(shift|substitution):[0-9]{1,9}")
_NUMBERS = re.compile(r"[1-9][0-9]{0,5}(,[1-9][0-9]{0,5}){0,99}")
_CHUNK = 1 << 14  # examples drawn at a time: their arrays stay in the processor's cache
_ROUNDS = 10_000  # draws before inputs of the intended kind are taken to be too rare to find


@spec
class TaskSpec(Task):
    """The task world and the training budget: ``examples`` N = ``instructions`` I x S.

    Lengths are in letters.  Each input holds the pattern exactly ``occurrences`` times (counted from the
    left without overlap), except a share ``no_op_share`` of inputs, which do not hold it.  ``concentration``
    a spreads the examples over the instructions by the density a x^(a-1): 1 gives each as many, smaller
    numbers give most to the first few (paper, long-tail experiment).  Paper, section 2: inputs of 50
    letters, patterns of 20, N = 10^6.

    ``family`` gives the strings of the rules a form (see ``rules``), with k drawn between ``k_low`` and
    ``k_high`` for each rule.  ``also_occurrences`` are further numbers of occurrences, as in ``"5,10"``: an
    input holds its pattern each of these times, and ``occurrences`` times, equally often.  ``cipher``
    enciphers the answers (see ``cipher_table``). Paper, semantics, occurrences and pre-trained experiments.

    ``decoys`` are the patterns of so many other rules of the same set, drawn anew for each input, in which
    each stands as often as the input's own pattern. The leftmost match then begins anywhere in the first
    third of the input, evenly, whatever the number of occurrences (see ``_arrange``); with ``decoys_at``
    ``anywhere``, for one occurrence alone, anywhere.  So neither frequency nor place nor form gives it away:
    an answer that does not read the pattern is right in 1 of ``decoys`` + 1 inputs at most.

    ``position`` says where the rule stands in a prompt: ``before`` the input, ``behind`` it, on ``both``
    sides, or ``mixed``, in each example before or behind it at random.
    """

    instructions: Count = 1_000
    examples: Count = 45_000
    alphabet: str = string.ascii_lowercase
    pattern_length: Length = 3
    replacement_length: Length = 3
    input_length: Length = 10
    occurrences: Length = 1
    no_op_share: Share = 0.0
    unseen_instructions: Count = 1_000
    concentration: real(0.001, 100) = later(1.0)
    family: among(FAMILIES) = later("random")
    k_low: Length = later(1)
    k_high: Length = later(1)
    also_occurrences: str = later("")
    cipher: str = later("")
    decoys: whole(0, 100) = later(0)
    decoys_at: among(("first third", "anywhere")) = later("first third")
    position: among((*POSITIONS, MIXED)) = later("before")

    @property
    def all_occurrences(self) -> tuple[int, ...]:
        """Every number of times that an input may hold its pattern, no-ops aside.

        >>> TaskSpec(also_occurrences="2,3").all_occurrences
        (1, 2, 3)
        """
        return self.occurrences, *map(int, filter(None, self.also_occurrences.split(",")))

    @property
    def layout(self) -> Layout:
        """Prompts of one length (``x→y|z=`` by default); the longest answer is a no-op's or a rewrite's."""
        x, y, z = self.pattern_length, self.replacement_length, self.input_length
        longest = max(z - x + y, z if self.no_op_share else 0)
        form = POSITIONS.get(self.position, POSITIONS["before"])
        length = x + y + z + 3 + (x + y + 2) * (self.position == "both")
        return Layout(self.alphabet, length, longest + 1, parts=(x, y, z), form=form)

    def split(self) -> Split:
        """Training and held-out rules that share no string; see ``draw_split``."""
        return draw_split(self)

    def draw(self, instructions: Instructions, which: np.ndarray, rng: np.random.Generator) -> Examples:
        """One example for each entry of ``which`` (N,), the index of its instruction."""
        layout, size = self.layout, len(which)
        prompts = np.empty((size, layout.prompt_length), np.uint8)
        answers = np.empty((size, layout.answer_length), np.uint8)
        applies = rng.random(size) >= self.no_op_share
        several = self.all_occurrences
        chosen = rng.choice(np.array(several), size) if len(several) > 1 else self.occurrences
        times = np.where(applies, chosen, 0)
        secret = cipher_table(self.alphabet, self.cipher)
        for start in range(0, size, _CHUNK):
            part = slice(start, start + _CHUNK)
            y = np.ascontiguousarray(instructions.replacements[which[part]].T)  # (|y|, n)
            x, z = _inputs(self, instructions.patterns, which[part], times[part], rng)  # (|x|, n), (|z|, n)
            pieces = {"x": x, "y": y, "z": z}
            pieces |= {sign: np.full((1, z.shape[1]), layout.special(name), np.uint8)
                       for name, sign in SPECIAL.items()}  # fmt: skip
            prompts[part] = _arranged(pieces, layout.form).T
            if self.position == MIXED:
                behind = np.flatnonzero(rng.random(z.shape[1]) < 0.5)
                prompts[start + behind] = _arranged(pieces, POSITIONS["behind"]).T[behind]
            answers[part] = secret[rewrite(x, y, z, layout)].T
        return Examples(layout, prompts, answers, which.astype(np.int32), applies)

    def _check(self) -> None:
        self._letters("alphabet", 1)
        self._check_occurrences()
        self._within("k_low", 1, self.pattern_length)
        self._within("k_high", self.k_low, self.pattern_length)
        if self.family == "random" and self.k_high > 1:
            self._refuse("k_high", "random rules have no k; choose a family, or k_low = k_high = 1")
        if self.cipher and not CIPHER.fullmatch(self.cipher):
            self._refuse("cipher", "expected shift:NUMBER, substitution:SEED or nothing, as in shift:3")
        super()._check()
        if self.no_op_share and len(self.alphabet) == 1:
            self._refuse("no_op_share", "with one letter every input holds every pattern, so no no-op exists")
        self._check_room()
        if self.decoys:
            self._check_decoys()
        elif self.decoys_at != "first third":
            self._refuse("decoys_at", "there are no decoys")

    def _check_occurrences(self) -> None:
        if self.also_occurrences and not _NUMBERS.fullmatch(self.also_occurrences):
            self._refuse("also_occurrences", "expected numbers from 1 on with commas between, as in 5,10")
        if len(set(self.all_occurrences)) < len(self.all_occurrences):
            again = f"each number once, and not occurrences={self.occurrences} again"
            self._refuse("also_occurrences", again)
        most = max(self.all_occurrences)
        if most * self.pattern_length > self.input_length:
            name = "also_occurrences" if most > self.occurrences else "occurrences"
            name = "pattern_length" if self.pattern_length > self.input_length else name
            self._refuse(name, f"{most} pattern(s) of {self.pattern_length} letters "
                         f"do not fit in input_length={self.input_length}")  # fmt: skip

    def _check_decoys(self) -> None:
        words, (head, tail) = self.decoys + 1, cells(self)
        if self.no_op_share:
            self._refuse("decoys", "inputs without their pattern (no_op_share) cannot have them")
        if min(self.instructions, self.unseen_instructions) < words:
            self._refuse("decoys", f"they are patterns of other rules: at least {words} of each are needed")
        if self.decoys_at == "anywhere":
            if self.all_occurrences != (1,):
                self._refuse("decoys_at", "with more than one occurrence decoys stand in the first third")
            if words * self.pattern_length > self.input_length:
                self._refuse("decoys", f"input_length={self.input_length} must hold {words} patterns")
        elif head < words or tail < words * (max(self.all_occurrences) - 1):
            room = f"the first third of input_length={self.input_length} must hold {words} patterns"
            self._refuse("decoys", f"{room}, and the rest all further occurrences")

    def _check_room(self) -> None:
        """Seen and unseen strings must be disjoint, so there must exist enough of them."""
        # At most: some strings have two forms
        forms = 1 if self.family == "random" else 3 * (self.k_high - self.k_low + 1)
        patterns, replacements = (forms * possible(self.alphabet, -(-length // self.k_low))
                                  for length in (self.pattern_length, self.replacement_length))  # fmt: skip
        shared = self.pattern_length == self.replacement_length
        needed = max(self.instructions, 2) + self.unseen_instructions * (2 if shared else 1)
        if needed > patterns:
            of_k = f" with k_low={self.k_low}" if self.k_low > 1 else ""
            room = f"only {patterns} strings of pattern_length={self.pattern_length}{of_k} exist"
            held_out = f"with unseen_instructions={self.unseen_instructions} held out"
            self._refuse("instructions", f"{room}, and {needed} are needed {held_out}")
        if self.unseen_instructions + 2 > replacements:
            room = f"only {replacements} strings of replacement_length={self.replacement_length} exist"
            self._refuse("unseen_instructions", room)


def _arranged(pieces: dict[str, np.ndarray], form: str) -> np.ndarray:
    """The pieces (each (letters, n)) of prompts in the order of a form: (P, n)."""
    return np.concatenate([pieces[piece] for piece in form])


def cipher_table(alphabet: str, cipher: str) -> np.ndarray:
    """What each token id becomes, (V,), uint8: letters by the cipher, special tokens themselves.

    ``shift:N`` moves each letter N places on in the alphabet, around its end; ``substitution:SEED`` is a
    random permutation of the letters; no cipher changes nothing.  For *encrypted* rewriting: rewrite, then
    encipher the answer (paper, pre-trained experiment; its cipher was not published).
    """
    size, table = len(alphabet), np.arange(len(alphabet) + len(SPECIAL), dtype=np.uint8)
    kind, _, number = cipher.partition(":")
    if kind == "shift":
        table[:size] = (np.arange(size) + int(number)) % size
    elif kind == "substitution":
        table[:size] = np.random.default_rng(int(number)).permutation(size)
    return table


def encipher(text: str, alphabet: str, cipher: str) -> str:
    """The text with each of its letters enciphered.

    >>> encipher("abz", "abcdefghijklmnopqrstuvwxyz", "shift:3")
    'dec'
    """
    table = cipher_table(alphabet, cipher)
    return "".join(alphabet[table[alphabet.index(letter)]] for letter in text)


def rewrite(x: np.ndarray, y: np.ndarray, z: np.ndarray, layout: Layout) -> np.ndarray:
    """The answers (O, n) to rules x (|x|, n) -> y (|y|, n) on inputs z (|z|, n), filled up with end tokens.

    The vectorised twin of ``Rule.apply``.
    """
    length = layout.answer_length
    return replace_at(leftmost(x, z, length), len(x), y, z, length, layout.special("end"))


def leftmost(x: np.ndarray, z: np.ndarray, absent: int) -> np.ndarray:
    """Where each pattern x (|x|, n) first starts in its input z (|z|, n), or ``absent``: (n,)."""
    found = _matches(x, z)  # (|z| - |x| + 1, n)
    at = np.full(z.shape[1], absent, np.int16)
    for place in reversed(range(len(found))):
        at = np.where(found[place], np.int16(place), at)
    return at


def replace_at(at: np.ndarray, size: int, y: np.ndarray, z: np.ndarray, length: int, end: int) -> np.ndarray:
    """Answers (length, n): z (|z|, n), with y (|y|, n) for its ``size`` letters from ``at`` (n,) on."""
    filled = np.full((length + size, z.shape[1]), end, np.uint8)
    filled[: len(z)] = z
    answer = filled[:length].copy()
    if shift := size - len(y):
        for j in range(max(0, -shift), length):
            _choose(answer[j], filled[j + shift], at + len(y) <= j)
    _write(answer, at, y)
    return answer


def _write(target: np.ndarray, at: np.ndarray, letters: np.ndarray) -> None:
    """Write letters (k, n) into ``target`` (L, n), each column from its place ``at`` (n,) on, if inside."""
    for place in range(len(target)):
        here = at == place
        if here.any():
            for i in range(min(len(letters), len(target) - place)):
                _choose(target[place + i], letters[i], here)


def _choose(row: np.ndarray, other: np.ndarray, where: np.ndarray) -> None:
    """``row[where] = other[where]`` on bytes without a branch, ten times as fast as with a mask."""
    row ^= (row ^ other) & np.negative(where.view(np.uint8))


def _inputs(
    task: TaskSpec, patterns: np.ndarray, own: np.ndarray, times: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Patterns x (|x|, n), those of all ``patterns`` (R, |x|) at ``own`` (n,), and inputs z (|z|, n) that
    hold x, and each decoy, exactly ``times`` (n,): draw, count, draw the wrong ones again.
    """
    x = np.ascontiguousarray(patterns[own].T)
    z, wrong = _attempt(task, patterns, own, x, times, rng)
    bad = np.flatnonzero(wrong)
    for _ in range(_ROUNDS):
        if not bad.size:
            return x, z
        z[:, bad], wrong = _attempt(task, patterns, own[bad], x[:, bad], times[bad], rng)
        bad = bad[wrong]
    numbers = ", ".join(map(str, task.all_occurrences))
    raise ValueError(
        f"TaskSpec.input_length={task.input_length}: inputs over {task.alphabet!r} that hold a pattern of "
        f"{len(x)} letters exactly {numbers} times (no-ops 0) are too rare to find"
    )


def _attempt(
    task: TaskSpec,
    patterns: np.ndarray,
    own: np.ndarray,
    x: np.ndarray,
    times: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (|z|, n), and which of them (n,) hold their pattern, or a decoy, another number of times."""
    if not task.decoys:
        z = _plant(task, x, times, rng)
        return z, count(x, z) != times
    others = own + rng.integers(1, len(patterns), (task.decoys, len(own)))  # the same twice: counted twice
    words = np.concatenate([x[None], patterns[others % len(patterns)].swapaxes(1, 2)])  # (decoys + 1, |x|, n)
    z = _arrange(task, words, times, rng)
    return z, np.any([count(word, z) != times for word in words], axis=0)


def cells(task: TaskSpec) -> tuple[int, int]:
    """How many cells of |x| letters the first third of an input with decoys has, and the rest of it.

    >>> cells(TaskSpec(pattern_length=2, input_length=27, unseen_instructions=100, instructions=100))
    (4, 9)
    """
    whole = (task.input_length - task.pattern_length + 1) // task.pattern_length
    return whole // 3, whole - whole // 3


def _arrange(task: TaskSpec, words: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random inputs (|z|, n) with each of their words (W, |x|, n) written ``times`` (n,) times.

    An input is cut into cells of |x| letters, from a random one of its first |x| letters on.  The first of
    each word gets a random cell of the first third, the others any free cell behind it.  The words are
    shuffled before, so what can be seen of the pattern's places can as well be seen of a decoy's.  Those that
    may stand anywhere are planted there as patterns without decoys are.
    """
    kinds, length, size = words.shape
    head, tail = cells(task)
    words = np.take_along_axis(words, rng.random((kinds, 1, size)).argsort(0), 0)
    if task.decoys_at == "anywhere":
        z = rng.integers(0, len(task.alphabet), (task.input_length, size), np.uint8)
        for word, place in zip(words, _places(task.input_length, length, (kinds, size), rng), strict=True):
            _write(z, place, word)
        return z
    first = rng.random((head, size)).argsort(0)[:kinds]  # (W, n)
    held = np.full((head + tail, size), -1)  # the word that each cell holds
    np.put_along_axis(held, first, np.arange(kinds)[:, None], 0)
    for kind in range(kinds):
        free = (held < 0) & (np.arange(head + tail)[:, None] > first[kind])
        order = np.where(free, rng.random(free.shape), 1).argsort(0).argsort(0)
        held[order < times - 1] = kind
    z = rng.integers(0, len(task.alphabet), (task.input_length, size), np.uint8)
    start = rng.integers(0, length, size)
    for i, kind in enumerate(held):
        letters = np.take_along_axis(words, np.maximum(kind, 0)[None, None], 0)[0]
        _write(z, np.where(kind < 0, -1, start + i * length), letters)
    return z


def _plant(task: TaskSpec, x: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random inputs (|z|, n), with the pattern written ``times`` (n,) at non-overlapping random places."""
    size = x.shape[1]
    z = rng.integers(0, len(task.alphabet), (task.input_length, size), np.uint8)
    for number in task.all_occurrences:
        rows = np.flatnonzero(times == number)
        for place in _places(task.input_length, len(x), (number, len(rows)), rng):
            at = np.full(size, -1, np.int16)
            at[rows] = place
            _write(z, at, x)
    return z


def _places(room: int, length: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Random places (number, n) for strings of a length that do not overlap, from left to right."""
    number, size = shape
    slots = room - number * (length - 1)  # left when each string shrinks to one letter
    if number == 1:
        return rng.integers(0, slots, shape)
    places = np.sort(rng.random((slots, size)).argsort(0)[:number], axis=0)
    return places + np.arange(number)[:, None] * (length - 1)


def _matches(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whether the pattern stands at each place of the input: (|z| - |x| + 1, n), bool."""
    places = len(z) - len(x) + 1
    found = z[:places] == x[0]
    for j in range(1, len(x)):
        found &= z[j : j + places] == x[j]
    return found


def count(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """How often each pattern x (|x|, n) occurs in its input z (|z|, n), as ``str.count`` does: (n,)."""
    found = _matches(x, z)
    total = found.sum(0, dtype=np.int16)
    several = np.flatnonzero(total > 1)  # only these can overlap
    free = np.zeros(len(several), np.int16)  # the next place at which a match may start
    total[several] = 0
    for place in range(len(found)):
        hit = found[place, several] & (free <= place)
        total[several] += hit
        free[hit] = place + len(x)
    return total
