"""Caption choice and sample order are functions of the seed and nothing else."""

import re
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from t2i.data.captions import caption_choice, order
from t2i.data.wording import CaptionRule
from t2i.errors import ConfigError


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


def test_wordings_go_into_a_template_between_prefix_and_suffix():
    rule = CaptionRule(templates=["a photo of {}", "{}, drawn"], prefix="sks ", suffix=".")
    assert rule.variants("a cat") == ["sks a photo of a cat.", "sks a cat, drawn."]
    seen = Counter(rule.wording("a cat", 0, epoch, "17") for epoch in range(400))
    assert set(seen) == set(rule.variants("a cat")) and abs(seen["sks a cat, drawn."] - 200) < 40
    assert CaptionRule().wording("a cat", 0, 0, "17") == "a cat"


def test_tags_are_shuffled_behind_those_that_stay():
    rule = CaptionRule(shuffle_tags=True, keep_tags=1)
    seen = {rule.wording("cat, red,  asleep , night", 0, epoch, "17") for epoch in range(100)}
    assert seen == {", ".join(["cat", *rest]) for rest in permutations(["red", "asleep", "night"])}
    assert rule.wording("cat, red, asleep", 0, 5, "17") == rule.wording("cat, red, asleep", 0, 5, "17")


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        (CaptionRule(templates=["a photo"]), "captions.templates holds 'a photo'"),
        (CaptionRule(templates=["{} and {}"]), "captions.templates holds '{} and {}'"),
        (CaptionRule(keep_tags=-1), "captions.keep_tags=-1"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule, named):
    with pytest.raises(ConfigError, match=re.escape(named)):
        rule.validate("captions")
