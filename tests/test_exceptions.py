"""Messages of errors: no credentials of URLs in them."""

import pickle
import re
import warnings

import numpy as np
import pytest

from skimgclf._validation import warn_user
from skimgclf.datasets import (
    fetch_image_archive,
    load_image_csv,
    load_image_folder,
)
from skimgclf.exceptions import (
    DatasetError,
    DatasetWarning,
    ImageLoadError,
    ImageLoadWarning,
    InvalidParameterError,
    ModelFileError,
    mask_credentials,
)
from skimgclf.images import ImageLoader


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("ftp://me:pass@host/a.png", "ftp://***@host/a.png"),
        (
            "zip://a.png::https://token@host/a.zip",
            "zip://a.png::https://***@host/a.zip",
        ),
        (
            "http://h/a?X-Amz-Signature=ab12&size=3",
            "http://h/a?X-Amz-Signature=***&size=3",
        ),
        ("http://h/a?sv=1&sig=a%2Bb", "http://h/a?sv=1&sig=***"),
        ("http://h/a?access_token=x#top", "http://h/a?access_token=***#top"),
        ("http://h/a?X-Amz-Credential=k/2/s3", "http://h/a?X-Amz-Credential=***"),
        ("http://h/a?AWSAccessKeyId=k&b=1", "http://h/a?AWSAccessKeyId=***&b=1"),
        ("http://h/a?Key-Pair-Id=k&b=1", "http://h/a?Key-Pair-Id=***&b=1"),
        ("http://h/a?x%2Dgoog%2Dsignature=k", "http://h/a?x%2Dgoog%2Dsignature=***"),
        ("http://h/a?__token__=e~hmac=1", "http://h/a?__token__=***"),
        ("http://h/a?hdnts=e~hmac=1", "http://h/a?hdnts=***"),
        ("http://h/a?passwd=x;jwt=y", "http://h/a?passwd=***;jwt=***"),
        ("http://h/a?sign=q&sessionid=1", "http://h/a?sign=***&sessionid=***"),
        ("http://h/a#access_token=x", "http://h/a#access_token=***"),
        ("https://o/p/s3cret/n/me/b/pets/o/a", "https://o/p/***/n/me/b/pets/o/a"),
        ("http://h/p/a.png?keyword=1&sight=2", "http://h/p/a.png?keyword=1&sight=2"),
        ("ftp://me:p@ss@host/a@b.png", "ftp://***@host/a@b.png"),
        ("http://h/a@b.png?size=3", "http://h/a@b.png?size=3"),
        ("s3://bucket/keyboard.png", "s3://bucket/keyboard.png"),
    ],
)
def test_credentials_of_urls_are_masked(url, masked):
    assert mask_credentials(f"no {url!r} and {url}") == f"no {masked!r} and {masked}"
    for kind in (ImageLoadError, ImageLoadWarning):
        one, two = kind([(0, url, "gone")]), kind([(0, url, f"at {url}")] * 2)
        assert repr(masked) in str(one)
        assert masked == url or url not in str(one) + str(two)
        assert one.errors == [(0, url, "gone")]
    assert masked == url or url not in str(DatasetError(url, [url]))


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("ftp://me:it's@host/a.png", "ftp://***@host/a.png"),
        ('ftp://me:"it\'s"@host/a.png', "ftp://***@host/a.png"),
        ("http://h/a?token=it's&size=3", "http://h/a?token=***&size=3"),
    ],
)
def test_quotes_in_credentials_end_nothing(url, masked):
    for text in (url, repr(url), repr([url, url])):
        found = mask_credentials(text)
        assert masked in found
        assert "it" not in found


@pytest.mark.parametrize(
    "error",
    [
        ImageLoadError([(0, "https://me:secret@h/a.png", "gone")]),
        ImageLoadWarning([(0, "https://me:secret@h/a.png", "gone")]),
        DatasetError("no https://me:secret@h", ["https://h/?token=secret"]),
        DatasetWarning("no https://me:secret@h"),
        ModelFileError("https://me:secret@h/m", 3, "is cut"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_repr_shows_credentials_and_pickles_keep_them(error):
    """As logging and notebooks show it."""
    assert "secret" not in repr(error) + repr([error])
    assert repr(error).startswith(f"{type(error).__name__}(")
    again = pickle.loads(pickle.dumps(error))
    assert again.args == error.args
    assert "secret" in str(again.args)


def test_errors_of_readers_hold_no_credentials():
    pytest.importorskip("fsspec")
    with pytest.raises(ImageLoadError) as caught:
        ImageLoader().transform(["http://me:secret@127.0.0.1:1/a.png?token=abc"])
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)
    with pytest.raises(DatasetError) as caught:
        load_image_folder("http://me:secret@127.0.0.1:1/a?token=abc")
    assert "secret" not in str(caught.value)
    with pytest.raises(OSError, match="127") as caught:
        load_image_csv("http://me:secret@127.0.0.1:1/a.csv")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda url: fetch_image_archive(url, progress=False),
        lambda url: ImageLoader().transform(url),
        lambda url: ImageLoader(image_size=url).transform([np.zeros((4, 4))]),
    ],
)
def test_errors_of_parameters_hold_no_credentials(call):
    with pytest.raises(
        InvalidParameterError, match=re.escape("ftp://***@h/")
    ) as caught:
        call("ftp://me:secret@h/a.zip")
    assert "secret" not in repr(caught.value)


def test_warnings_and_descriptions_hold_no_credentials():
    fsspec = pytest.importorskip("fsspec")
    url = "memory://me:secret@h/train"
    fsspec.filesystem("memory").pipe_file("/me:secret@h/train/cat/1.png", b"1")
    with pytest.warns(DatasetWarning, match="only one class") as caught:
        bunch = load_image_folder(url)
    with warnings.catch_warnings(record=True) as more:
        warnings.simplefilter("always")
        warn_user(f"no {url!r}", DatasetWarning)
        warn_user(ImageLoadWarning([(0, url, "gone")]))
    said = [str(warning.message) for warning in [*caught, *more]]
    assert len(said) == 3
    assert all("memory://***@h/train" in text for text in [*said, bunch.DESCR])
    assert "secret" not in "".join([*said, bunch.DESCR])
