"""The card that lies beside tuned weights says what they are and under which terms."""

import yaml

from t2i.training.card import Provenance, model_card

PROVENANCE = Provenance(
    "sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5", "creativeml-openrail-m", "ab" * 16, "coco", "cd" * 16, 2000,
    {"1": 700, "CC BY 4.0": 1300},
)  # fmt: skip
METRICS = {"trainable_parameters": 797184.0, "steps": 500.0, "exported_step": 400.0, "held_out_loss": 0.123456789}


def test_a_card_names_origin_numbers_settings_and_licences() -> None:
    card = model_card(PROVENANCE, {"strategy.kind": "lora", "training.milestones": "[100]", "seed": 0}, METRICS)
    _, header, body = card.split("---\n", 2)
    facts = yaml.safe_load(header)
    assert facts["base_model"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert facts["license"] == "creativeml-openrail-m" and "lora" in facts["tags"]
    assert "797,184 trained parameters; 500 steps, of which step 400 is exported" in body
    assert "| held_out_loss | 0.123457 |" in body
    assert "- licence 1 in the data's own list (`licenses` of its annotations): 700 pictures" in body
    assert "- CC BY 4.0: 1,300 pictures" in body
    assert "cd" * 16 in body and "ab" * 16 in body
    settings = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    assert settings == {"strategy.kind": "lora", "training.milestones": "[100]", "seed": 0}


def test_data_without_licences_says_so() -> None:
    card = model_card(
        Provenance("tiny", "tiny", "apache-2.0", "a", "folder", "b", 3, {}), {"strategy.kind": "unet"}, METRICS
    )
    assert "The source of the data names none." in card and "lora" not in card.split("---\n")[1]
