"""Scores of answers against references: exact match, chrF, BLEU, and BLEURT by a local checkpoint.

>>> round(exact(["a b", "c"], ["a b", "d"]), 2)
0.5
"""

from collections.abc import Callable, Sequence

import torch

from unseen.files import absolute
from unseen.lm.load import BadBase, needed, read_local

Answers = Sequence[str | None]  # None: an answer that did not end, which equals nothing
Score = Callable[[Answers, Sequence[str]], float]  # of answers and as many references
_AT_ONCE, _LONGEST = 32, 512  # pairs, tokens of a pair


def exact(answers: Answers, references: Sequence[str]) -> float:
    """The share of answers that equal their reference, apart from spaces around them.

    >>> exact([None, ""], ["", ""])
    0.5
    """
    pairs = zip(answers, references, strict=True)
    hits = [answer is not None and answer.strip() == right.strip() for answer, right in pairs]
    return sum(hits) / len(hits)


def _texts(answers: Answers, references: Sequence[str]) -> list[str]:
    """Answers as texts; one that did not end is empty, or unlike the reference where that is empty."""
    pairs = zip(answers, references, strict=True)
    return [("" if right.strip() else "\ufffd") if text is None else text for text, right in pairs]


def chrf(answers: Answers, references: Sequence[str]) -> float:
    """chrF of a corpus, 0 to 100: F-score of character n-grams (Popović, 2015).

    >>> chrf(["the red fox"], ["the red fox"])
    100.0
    """
    from sacrebleu.metrics import CHRF

    return CHRF().corpus_score(_texts(answers, references), [list(references)]).score


def bleu(answers: Answers, references: Sequence[str]) -> float:
    """BLEU of a corpus, 0 to 100: precision of word n-grams up to four (Papineni et al., 2002).

    >>> round(bleu(["the red fox sees a stone"], ["the red fox sees a boat"]), 1)
    76.0
    """
    from sacrebleu.metrics import BLEU

    return BLEU(force=True).corpus_score(_texts(answers, references), [list(references)]).score


def bleurt_of(folder: str) -> Score:
    """BLEURT (Sellam et al., 2020) by a local checkpoint for ``transformers``: a classifier with one output.

    Raises ``BadBase`` when the folder is none.  Only safetensors are read, and no code in the folder runs.
    """
    path = absolute(folder)
    if not (path / "config.json").is_file() or not any(path.glob("*.safetensors")):
        raise BadBase(f"bleurt={folder!r}: no folder with config.json and *.safetensors on this machine")
    tokenizer = read_local("AutoTokenizer", path)
    model = read_local("AutoModelForSequenceClassification", path, use_safetensors=True).eval()
    if model.config.num_labels != 1:
        raise BadBase(f"bleurt={folder!r}: it has {model.config.num_labels} outputs, BLEURT has one")

    @torch.no_grad()
    def bleurt(answers: Answers, references: Sequence[str]) -> float:
        found, texts = [], _texts(answers, references)
        for at in range(0, len(answers), _AT_ONCE):
            pairs = list(references[at : at + _AT_ONCE]), texts[at : at + _AT_ONCE]
            how = {"padding": True, "truncation": True, "max_length": _LONGEST, "split_special_tokens": True}
            batch = tokenizer(*pairs, return_tensors="pt", **how)
            found += model(**batch).logits.squeeze(-1).tolist()
        return sum(found) / len(found)

    return bleurt


def scores(bleurt: str = "") -> dict[str, Score]:
    """All scores by name, BLEURT where its folder is given; raises ``BadBase``."""
    needed("llm")
    return {"exact": exact, "chrF": chrf, "BLEU": bleu} | ({"BLEURT": bleurt_of(bleurt)} if bleurt else {})
