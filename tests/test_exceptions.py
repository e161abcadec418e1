"""Messages of errors: no credentials of URLs in them."""

import pytest

from skimgclf.datasets import load_image_folder
from skimgclf.exceptions import (
    DatasetError,
    ImageLoadError,
    ImageLoadWarning,
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


def test_errors_of_readers_hold_no_credentials():
    pytest.importorskip("fsspec")
    with pytest.raises(ImageLoadError) as caught:
        ImageLoader().transform(["http://me:secret@127.0.0.1:1/a.png?token=abc"])
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)
    with pytest.raises(DatasetError) as caught:
        load_image_folder("http://me:secret@127.0.0.1:1/a?token=abc")
    assert "secret" not in str(caught.value)
