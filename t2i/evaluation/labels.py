"""What metrics are called in sentences."""

LABELS = {
    "fid": "FID",
    "kid": "KID",
    "inception_score": "Inception Score",
    "clip_score": "CLIP score",
    "ref_clip_score": "RefCLIPScore",
    "pickscore": "PickScore",
    "hpsv2": "HPSv2",
    "vqa_score": "VQA score",
    "cmmd": "CMMD",
    "fd_dinov2": "FD-DINOv2",
    "vendi": "Vendi score",
    "memorisation_distance": "distance to training images",
    "held_out_loss@8": "held-out loss at 8 times",
    "composition_object": "composition: object",
    "composition_two_objects": "composition: two objects",
    "composition_count": "composition: count",
    "composition_colour": "composition: colour",
    "composition_position": "composition: position",
    "composition_binding": "composition: attribute binding",
}
"""Names in sentences; others are written as they are."""
