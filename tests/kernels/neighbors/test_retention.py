import numpy as np

from curate.kernels.neighbors.retention import THRESHOLDS, RecallSample, Retention, merge_retention


def retention(nearest, **fields):
    return Retention("cosine similarity", 0.9, np.array(nearest, np.float32), **fields)


def test_a_row_is_kept_below_its_similarity_and_dropped_from_it_on():
    kept = retention([-1, 0.5, 1]).kept()
    assert [kept[i] for i in (0, 50, 51, 99, 100)] == [1, 1, 2, 2, 2]
    assert len(kept) == len(THRESHOLDS)


def test_groups_are_merged_by_row_and_their_samples_add_up():
    parts = [retention([0.1, 0.2], sample=RecallSample(2, 5, 1)), retention([0.3], sample=RecallSample(1, 0, 0))]
    complete = merge_retention(4, [np.array([3, 0]), np.array([1])], parts)
    np.testing.assert_allclose(complete.nearest, [0.2, 0.3, -1, 0.1], rtol=1e-6)
    assert complete.sample == RecallSample(3, 5, 1)
    assert (complete.curve().rows, complete.curve().sample) == (4, RecallSample(3, 5, 1))


def test_nothing_is_merged_where_a_group_was_not_compared():
    assert merge_retention(2, [np.array([0]), np.array([1])], [retention([0.1]), None]) is None
    assert merge_retention(0, [], []) is None
