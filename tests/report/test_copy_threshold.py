import numpy as np
import pytest

from curate.report.copy_threshold import DEFAULT, FEWEST, calibrate, overlap

SAME, OTHER = ("one and the same text", "one and the same text."), ("one text", "something else")


def pairs(copies: int, others: int) -> list[tuple[str, str]]:
    return [SAME] * copies + [OTHER] * others


@pytest.mark.parametrize(("copies", "others"), [(0, 0), (0, 50), (FEWEST - 1, 50), (50, FEWEST - 1)])
def test_too_few_pairs_of_either_kind_give_the_default(copies: int, others: int) -> None:
    found = calibrate(np.zeros(copies + others, np.float32), pairs(copies, others))
    assert (found.similarity, found.calibrated, found.copies) == (DEFAULT, False, copies)


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_best_of_all(seed: int) -> None:
    """The reference is a search over all similarities."""
    rng = np.random.default_rng(seed)
    is_copy = np.repeat([True, False], [30, 70])
    similarities = np.where(is_copy, rng.normal(0.85, 0.1, 100), rng.normal(0.7, 0.1, 100)).round(2).astype(np.float32)
    found = calibrate(similarities, pairs(30, 70))

    def f1(least: float) -> float:
        hit = similarities >= np.float32(least)
        return 2 * (hit & is_copy).sum() / (hit.sum() + 30)

    assert found.agreement == pytest.approx(max(map(f1, similarities.tolist())))
    assert f1(found.similarity) == pytest.approx(found.agreement)


def test_embedders_with_other_scales_get_other_thresholds() -> None:
    wide, narrow = (np.repeat(np.float32(each), 25) for each in ([0.9, 0.2], [0.99, 0.97]))
    assert [calibrate(each, pairs(25, 25)).similarity for each in (wide, narrow)] == [pytest.approx(0.9), 0.99]


@pytest.mark.parametrize(("one", "other"), [("", ""), ("我们走了很远的路", "我们走了很远的路"), ("A\n b", "a b")])
def test_equal_texts_overlap_completely(one: str, other: str) -> None:
    assert overlap(one, other) == 1
