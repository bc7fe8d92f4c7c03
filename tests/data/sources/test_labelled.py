"""CIFAR-10 and the idx files: each published form gives the same images, and a planted pickle runs nothing."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from t2i.data.files import plain_pickle
from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.labelled import LabelledImages
from t2i.errors import ConfigError, UserError

from ..test_keywords import SHIPPED

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TEMPLATES = ["an image of {a label}", "a photo of one {label}"]
BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
EACH = 20
PIXELS = np.random.default_rng(0).integers(0, 256, (6, EACH, 3072), np.uint8)
LABELS = [[(7 * number + batch) % 10 for number in range(EACH)] for batch in range(6)]


def python2_pickle(pixels, labels, name):
    """A batch with the very opcodes of the published ones (protocol 2, texts as SHORT_BINSTRING)."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def number(value):
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    names = b"".join(text(b"leptodactylus_s_%06d.png" % value) + b"q\x10" for value in range(len(labels)))
    raw = pixels.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08(K\x01"
        + (number(len(labels)) + number(3072) + b"\x86")
        + b"cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87Rq\x0a(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + (b"T" + struct.pack("<i", len(raw)) + raw + b"tb")
    )
    return (b"\x80\x02}q\x01(U\x0bbatch_labelq\x02" + text(name.encode()) + b"q\x03U\x06labelsq\x04]q\x05(") + (
        b"".join(map(number, labels)) + b"eU\x04data" + array + b"U\x09filenames]q\x0b(" + names + b"eu."
    )


def batch(form, number):
    if form == "binary":
        return b"".join(
            bytes([label]) + row.tobytes() for label, row in zip(LABELS[number], PIXELS[number], strict=True)
        )
    if form == "python 2":
        return python2_pickle(PIXELS[number], LABELS[number], f"batch {number}")
    values = {b"batch_label": b"batch", b"labels": LABELS[number], b"data": PIXELS[number], b"filenames": []}
    return pickle.dumps(values, protocol=int(form))


def write(root, form):
    folder = root / ("cifar-10-batches-bin" if form == "binary" else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    for number, name in enumerate(BATCHES):
        (folder / (f"{name}.bin" if form == "binary" else name)).write_bytes(batch(form, number))
    (folder / "batches.meta").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    return folder


def cifar(root, store, **settings):
    data = LabelledImages(root=str(root), labels=CIFAR, templates=TEMPLATES, resolution=64, **settings)
    data.validate()
    data.acquire(store)
    return data


def check(data):
    """The 120 images of the batches, pixel by pixel."""
    assert (len(data.samples("train")), len(data.samples("held_out"))) == (5 * EACH, EACH)
    for samples, batches in ((data.samples("train"), range(5)), (data.samples("held_out"), [5])):
        expected = [
            (PIXELS[b, n].reshape(3, 32, 32).transpose(1, 2, 0), LABELS[b][n]) for b in batches for n in range(EACH)
        ]
        for sample, (pixels, label) in zip(samples, expected, strict=True):
            assert sample.categories == (CIFAR[label],)
            assert (np.asarray(Image.open(sample.path)) == pixels).all()


@pytest.mark.parametrize("form", ["python 2", "2", "3", "4", "binary"])
@pytest.mark.parametrize("inside", [True, False])
def test_batches_of_every_kind_give_the_same_images(tmp_path, store, form, inside):
    folder = write(tmp_path / "data", form)
    check(cifar(folder if inside else tmp_path / "data", store))


@pytest.mark.parametrize("form", ["python 2", "binary"])
def test_an_archive_is_read_without_unpacking_it(tmp_path, store, form):
    folder = write(tmp_path, form)
    (tmp_path / "data").mkdir()
    name = "cifar-10-binary.tar.gz" if form == "binary" else "cifar-10-python.tar.gz"
    with tarfile.open(tmp_path / "data" / name, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    check(cifar(tmp_path / "data", store))


@pytest.mark.parametrize("column", ["img", "image"])
def test_the_hubs_parquet(tmp_path, store, column):
    folder = tmp_path / "data/plain_text"
    folder.mkdir(parents=True)
    for split, batches in (("train", range(5)), ("test", [5])):
        rows = []
        for pixels, label in ((PIXELS[b, n], LABELS[b][n]) for b in batches for n in range(EACH)):
            file = io.BytesIO()
            Image.fromarray(pixels.reshape(3, 32, 32).transpose(1, 2, 0)).save(file, "PNG")
            rows.append({column: {"bytes": file.getvalue(), "path": None}, "label": label})
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    check(cifar(tmp_path / "data", store))


def test_labels_become_captions_and_keywords_find_their_domains(tmp_path, store):
    write(tmp_path / "data", "binary")
    captions = {sample.categories[0]: sample.captions for sample in cifar(tmp_path / "data", store).samples("train")}
    assert captions["airplane"] == ("an image of an airplane", "a photo of one airplane")
    assert captions["dog"] == ("an image of a dog", "a photo of one dog")
    for domain, labels in (
        ("animal", ["bird", "cat", "deer", "dog", "frog", "horse"]),
        ("vehicle", ["airplane", "automobile"]),
    ):
        chosen = cifar(tmp_path / "data", store, keywords=SHIPPED, domains=[domain]).samples("train")
        counted = Counter(sample.categories[0] for sample in chosen)
        assert set(counted) >= set(labels) and all(count == 10 for count in counted.values())
    assert len(cifar(tmp_path / "data", store, domains=["dog"]).samples("train")) == 10
    other = LabelledImages(root=str(tmp_path / "data"), labels=CIFAR, templates=["{label}"], domains=["dog"])
    other.acquire(store)
    assert {sample.captions for sample in other.samples("train")} == {("dog",)}
    # All of them, and those of three choices; other templates need no image written again.
    assert len(list((store.root / "extracted").glob("[!.]*"))) == 4


def test_a_batch_is_prepared_like_any_image(tmp_path, store):
    write(tmp_path / "data", "python 2")
    data = LabelledImages(root=str(tmp_path / "data"), labels=CIFAR, resolution=64)
    train = Prepared(prepare(data, store).path).split("train")
    assert len(train) == 5 * EACH and train.captions[0] == [f"an image of an {CIFAR[LABELS[0][0]]}"]


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(params=[True, False])
def idx_root(tmp_path, request):
    root = tmp_path / "idx"
    root.mkdir()
    for name, count in (("train", 30), ("t10k", 10)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(count, dtype=np.uint8) % 3)):
            path = root / f"{name}-{kind}-ubyte"
            if request.param:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(idx(array)))
            else:
                path.write_bytes(idx(array))
    return root


def test_idx_files_packed_or_not(idx_root, store):
    data = LabelledImages(root=str(idx_root), labels=["coat", "ankle boot", "bag"], templates=TEMPLATES)
    data.acquire(store)
    train, held_out = data.samples("train"), data.samples("held_out")
    assert (len(train), len(held_out)) == (30, 10)
    assert train[1].captions == ("an image of an ankle boot", "a photo of one ankle boot")
    expected = np.random.default_rng(30).integers(0, 256, (30, 28, 28), np.uint8)
    assert all(
        (np.asarray(Image.open(sample.path)) == pixels).all() for sample, pixels in zip(train, expected, strict=True)
    )


class Planted:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_planted_code_is_refused_and_does_not_run(tmp_path, store, protocol):
    folder = write(tmp_path / "data", "python 2")
    planted = pickle.dumps({"data": Planted(tmp_path / "made"), "labels": []}, protocol=protocol)
    (folder / "data_batch_3").write_bytes(planted)
    with pytest.raises(
        UserError, match=r"data_batch_3 is no batch of images but may run code \(it names .*mkdir\): do not"
    ):
        cifar(tmp_path / "data", store)
    assert not (tmp_path / "made").exists()
    pickle.loads(planted)  # the plant works: without the reader it would have run
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"(S'1'\nios\nsystem\n.",  # INST
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
        b"\x80\x02cnumpy\nndarray\n(K\x05tR.",  # ndarray called
        b"\x80\x02}(U\x01aK\x01u}b.",  # BUILD on a dictionary
        b"P1\n.",  # a persistent id
        b"\x82\x01.",  # an extension
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R.",
        b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x02\x85cnumpy\ndtype\nU\x02O8\x85R\x89U\x02abtb.",  # objects
        b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01J\xff\xff\xff\x7f\x85cnumpy\ndtype\nU\x02u1\x85R\x89U\x02abtb.",
    ],
)
def test_whatever_is_not_plain_is_refused(data):
    with pytest.raises(plain_pickle.Refused):
        plain_pickle.parse(data)


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5, None, True, (1, 2, 3, ()), b"\xff"], b"k": "text", "n": [[]], "big": 2**70}]
)
def test_plain_values_come_back(value):
    for protocol in range(5):
        assert plain_pickle.parse(pickle.dumps(value, protocol)) == pickle.loads(pickle.dumps(value, protocol))


def test_a_cut_pickle_is_a_value_error_at_every_length():
    whole = python2_pickle(PIXELS[0, :2], LABELS[0][:2], "b")
    assert set(plain_pickle.parse(whole)) == {"batch_label", "labels", "data", "filenames"}
    for length in [*range(200), *range(200, len(whole), 97), len(whole) - 1]:
        with pytest.raises(ValueError, match=r"."):
            plain_pickle.parse(whole[:length])


def test_damage_is_one_sentence(tmp_path, store, idx_root):
    folder = write(tmp_path / "data", "binary")
    (folder / "data_batch_2.bin").write_bytes(b"x" * 3072)
    with pytest.raises(UserError, match="data_batch_2.bin has 3,072 bytes, no multiple of 3,073"):
        cifar(folder, store)
    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(
        UserError, match=r"data_batch_2.bin of cifar10 missing beside data_batch_1.bin.*expected cifar-10-bat"
    ):
        cifar(folder, store)
    for path in idx_root.glob("t10k-images*"):
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.* is not an idx file"):
        cifar(idx_root, store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no images of cifar10: .*empty is empty, expected cifar-10-batches-py/"):
        cifar(tmp_path / "empty", store)


def test_labels_and_templates_are_checked(tmp_path, store):
    write(tmp_path / "data", "binary")
    data = LabelledImages(root=str(tmp_path / "data"), labels=["a", "b"])
    data.acquire(store)
    with pytest.raises(ConfigError, match="dataset.labels names 2 classes, but data_batch_1_0.* has the label number"):
        data.samples("train")
    for key, value in (("labels", []), ("templates", []), ("templates", ["a thing"]), ("templates", ["{label} {x}"])):
        with pytest.raises(ConfigError, match=f"^dataset.{key}"):
            LabelledImages(**{"root": str(tmp_path), "labels": ["a"], key: value}).validate()
