"""Caption choice and sample order are functions of the seed and nothing else."""

from collections import Counter

import numpy as np

from t2i.data.captions import caption_choice, order


def test_an_order_is_a_permutation_that_differs_by_epoch_and_seed():
    first = order(0, 0, 100)
    assert sorted(first) == list(range(100)) and first.dtype == np.int64
    assert (first == order(0, 0, 100)).all()
    assert (first != order(0, 1, 100)).any() and (first != order(1, 0, 100)).any()


def test_every_caption_is_chosen_equally_often_over_the_epochs():
    captions = ["a", "b", "c", "d", "e"]
    chosen = [caption_choice(3, epoch, "17", captions) for epoch in range(1000)]
    assert chosen == [caption_choice(3, epoch, "17", captions) for epoch in range(1000)]
    # 200 each; a binomial count of 1000 draws has a standard deviation of 12.6.
    assert all(abs(count - 200) < 51 for count in Counter(chosen).values()) and len(set(chosen)) == 5
    assert caption_choice(3, 0, "17", ["only"]) == "only"
