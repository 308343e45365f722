import numpy as np
import pytest

from curate.kernels.submodular.feature_matrices import group_features, trigram_features


def test_trigrams_of_every_text_have_weight_0_and_empty_texts_have_no_trigrams():
    features = trigram_features(["ab ab", "ab cd", ""]).toarray()
    assert features.shape == (3, 4)
    assert not features[2].any()
    assert sorted(features[0].round(4).tolist()) == pytest.approx([0, 0, 2 * np.log(1.5), 2 * np.log(1.5)], abs=1e-4)
    assert not trigram_features(["same", "same"]).toarray().any()


def test_every_row_is_of_one_group():
    features = group_features(np.array([2, 0, 2])).toarray()
    assert features.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
