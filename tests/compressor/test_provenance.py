"""C2PA manifests of originals: kept, read behind the fence, told; and renditions that say what they were made from."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from chipmunk import renditions
from chipmunk.config import Settings, load
from chipmunk.errors import SettingsError
from chipmunk.ids import folder, parse_id
from compressor import provenance
from tests.client import sha256
from tests.compressor.conftest import House, gif, house_of, photo, working
from tests.compressor.site import Site, served

PEM = serialization.Encoding.PEM
USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
    "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class Camera:
    """Signs pictures with a certificate of an authority of its own, as C2PA wants them."""

    def __init__(self) -> None:
        self._root, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root, leaf = self._certificate("Root", self._root), self._certificate("Camera 7", self._key)
        self.anchors = root.public_bytes(PEM).decode()
        private = self._key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        chain = leaf.public_bytes(PEM) + root.public_bytes(PEM)
        self._signer = c2pa.Signer.from_info(
            c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=private, ta_url=None)
        )

    def _certificate(self, name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        now, ca = datetime.datetime.now(datetime.UTC), key is self._root
        names = [
            x509.Name([
                x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Tests & Söhne"),
                x509.NameAttribute(x509.NameOID.COMMON_NAME, common),
            ])
            for common in (name, "Root")
        ]  # fmt: skip
        allowed = ("key_cert_sign", "crl_sign") if ca else ("digital_signature",)
        made = (
            x509.CertificateBuilder()
            .subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**{use: use in allowed for use in USES}), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._root.public_key()), critical=False
            )
        )  # fmt: skip
        if not ca:
            made = made.add_extension(
                x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return made.sign(self._root, hashes.SHA256())

    def signed(self, picture: bytes, mime: str = "image/jpeg", title: str = "A heron") -> bytes:
        capture = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
        actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": capture}]}
        manifest = {
            "claim_generator_info": [{"name": "Test Camera", "version": "7.1"}],
            "title": title,
            "assertions": [{"label": "c2pa.actions", "data": actions}],
        }
        out = io.BytesIO()
        with c2pa.Builder(json.dumps(manifest)) as builder:
            builder.sign(self._signer, mime, io.BytesIO(picture), out)
        return out.getvalue()


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with served("127.0.0.1") as site:
        yield site


async def told(house: House, data: bytes) -> dict[str, Any]:
    answer = await house.http.put("/v1/media", params={"user": "ann"}, content=data)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def original(house: House, media: str) -> Path:
    identifier = parse_id(media)
    assert identifier is not None
    return house.parts.store.path(folder(identifier)) / "0"


async def test_what_a_camera_signed_is_told_and_kept_as_it_came(house: House, camera: Camera) -> None:
    data = camera.signed(photo())
    media = await told(house, data)
    assert media["provenance"] == {
        "state": "valid", "title": "A heron", "generator": "Test Camera 7.1", "issuer": "Tests & Söhne",
        "signed_by": "Camera 7", "signed_at": None, "actions": ["c2pa.created"], "sources": ["digitalCapture"],
        "ingredients": 0, "faults": ["signingCredential.untrusted"],
    }  # fmt: skip
    async with working(house.parts):
        kept = await house.until("ready", media["id"])
    assert kept.provenance == media["provenance"]
    assert original(house, media["id"]).read_bytes() == data
    for rung in range(1, 7):
        with Image.open(original(house, media["id"]).with_name(f"{rung}.webp")) as image:
            assert not {"xmp", "exif", "icc_profile"} & set(image.info)


@pytest.mark.parametrize(("mime", "format_"), [("image/png", "PNG"), ("image/webp", "WEBP")])
async def test_other_formats_are_read_too(house: House, camera: Camera, mime: str, format_: str) -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(photo())).save(out, format_)
    assert (await told(house, camera.signed(out.getvalue(), mime)))["provenance"]["state"] == "valid"


async def test_who_is_named_by_the_operator_is_trusted(settings: Settings, camera: Camera, tmp_path: Path) -> None:
    anchors = tmp_path / "anchors.pem"
    anchors.write_text(camera.anchors)
    async with house_of(settings.model_copy(update={"c2pa_anchors": str(anchors)})) as house:
        await house.user()
        assert (await told(house, camera.signed(photo())))["provenance"]["state"] == "trusted"
        assert (await told(house, Camera().signed(photo())))["provenance"]["state"] == "valid"


async def test_a_picture_changed_after_it_was_signed_is_told_to_be(house: House, camera: Camera) -> None:
    data = bytearray(camera.signed(photo(quality=95)))
    data[-60] ^= 1
    found = (await told(house, bytes(data)))["provenance"]
    assert found["state"] == "invalid"
    assert "assertion.dataHash.mismatch" in found["faults"]


async def test_what_cannot_be_read_is_no_reason_to_refuse_a_picture(house: House, camera: Camera) -> None:
    data = bytearray(camera.signed(photo()))
    at = data.index(b"c2cl")
    data[at : at + 400] = b"\xff" * 400
    assert (await told(house, bytes(data)))["provenance"] in ({"state": "unreadable"}, None)
    assert (await told(house, photo(seed=5) + b"c2pa"))["provenance"] is None
    assert (await told(house, photo(seed=6)))["provenance"] is None


async def test_names_that_somebody_made_up_are_bounded_and_have_no_control_characters(
    house: House, camera: Camera
) -> None:
    found = (await told(house, camera.signed(photo(), title="\x1b[31m<b>" + "x" * 5000)))["provenance"]
    assert found["title"] == ("[31m<b>" + "x" * 5000)[: provenance.LONGEST]


async def test_nothing_is_fetched_that_a_file_points_to(house: House, site: Site) -> None:
    pointing = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/"'
        f' dcterms:provenance="{site.url("/c2pa.jumbf")}"/></rdf:RDF></x:xmpmeta>'
    )
    out = io.BytesIO()
    Image.open(io.BytesIO(photo())).save(out, "JPEG", xmp=pointing.encode())
    with pytest.raises(c2pa.C2paError), c2pa.Reader("image/jpeg", io.BytesIO(out.getvalue())):
        pass  # which asks, where nobody says not to
    assert site.asked
    site.asked.clear()
    await told(house, out.getvalue())
    assert site.asked == []


@pytest.mark.parametrize("data", [photo(1400, 900), gif(4)], ids=["still", "moving"])
async def test_renditions_say_what_they_were_made_from_where_the_operator_wants_it(
    settings: Settings, data: bytes
) -> None:
    async with house_of(settings.model_copy(update={"rendition_xmp": True})) as house:
        await house.user()
        media = await told(house, data)
        async with working(house.parts):
            found = await house.until("ready", media["id"])
        for rung in found.rungs:
            path = original(house, media["id"]).with_name(renditions.file(rung["quality"]))
            assert path.stat().st_size == rung["bytes"]
            if rung["quality"] == renditions.REEL:
                continue
            with Image.open(path) as image:
                image.load()
                assert f"<stRef:documentID>urn:sha256:{sha256(data)}</stRef:documentID>" in image.info["xmp"].decode()
                assert (image.width, image.height) == (rung["width"], rung["height"])
                assert getattr(image, "n_frames", 1) == (
                    4 if data.startswith(b"GIF") and 2 < rung["quality"] < 7 else 1
                )
        assert (await house.standing())[:2] == (found.total_bytes, 0)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_saying_it_leaves_the_picture_as_it_is(mode: str, lossless: bool) -> None:
    image = Image.effect_noise((101, 51), 50).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    out = io.BytesIO()
    image.save(out, "WEBP", lossless=lossless)
    said = provenance.saying(out.getvalue(), b"odd", image.size)
    assert len(said) <= len(out.getvalue()) + provenance.cost(b"odd", 1)
    with Image.open(io.BytesIO(said)) as after, Image.open(out) as before:
        assert after.info["xmp"] == b"odd"
        assert (after.mode, after.tobytes()) == (before.mode, before.tobytes())


def test_certificates_that_are_none_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("no certificate")
    for path in ("a.pem", "not-there.pem"):
        with pytest.raises(SettingsError, match="CHIPMUNK_C2PA_ANCHORS"):
            load({"CHIPMUNK_C2PA_ANCHORS": str(tmp_path / path)})
