"""What the page says of metrics: names, directions, and no key of a program."""

import re

import pytest

from t2i.evaluation.metrics.registry import METRICS, NUMBERS_OF
from t2i.web import html

KEYS = [*METRICS, *NUMBERS_OF, "inception_score_10", "inception_score_10_std", "cmmd_biased", "mifid", "something_new"]


@pytest.mark.parametrize("key", KEYS)
def test_a_metric_is_written_by_a_name(key: str) -> None:
    table = html.measured({f"base/{key}[tiny_clip]": 1.5, f"tuned/{key}[tiny_clip]": 2.5})
    (head,) = re.findall(r'<th scope="row">(.*?)</th>', table)
    label, extractor = re.sub(r"<em>.*</em>", "", head).removesuffix("</small>").split(" <small>")
    assert "_" not in label and label[0].isupper() and extractor == "tiny_clip"
    assert "1.5" in table and "2.5" in table


def test_directions_are_those_of_the_metrics_and_ends_of_intervals_are_no_rows() -> None:
    numbers = {
        "tuned/fid[x]": 3.0, "tuned/fid[x].low": 2.0, "tuned/fid[x].high": 4.0, "tuned/fid[x].world.low": 1.0,
        "tuned/recall[x]": 0.5, "tuned/memorisation_distance[x]": 0.3, "held_out_loss_before": 0.7, "held_out_loss": 0.5,
        "seconds": 3.0,
    }  # fmt: skip
    rows = re.findall(r'<th scope="row">(.*?)</th>', html.measured(numbers))
    told = {re.sub(r" ?<.*", "", row): re.sub(r".*<em>(.*)</em>.*", r"\1", row) for row in rows}
    assert told == {
        "FID": "lower is better",
        "Recall": "higher is better",
        "Distance to training pictures": "",
        "Loss on held-out data": "lower is better",
    }
