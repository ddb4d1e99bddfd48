"""Estimates (G-8): terms of scripts run dry, and what is made of them."""

import json

import pytest
import pyvips

from dservices.mediagen.calibration import calibrate
from dservices.mediagen.calibration import scripts as calibration_scripts
from dservices.mediagen.estimator import cost_model, dry_run
from dservices.mediagen.estimator.cost_model import Model, SketchHost
from dservices.mediagen.estimator.headers import Facts, facts_of
from dservices.mediagen.language import catalogue
from dservices.mediagen.language.catalogue import MEDIA, check
from dservices.mediagen.language.mrl import Mrl
from dservices.mediagen.operations import methods
from dservices.mediagen.operations.fonts import Fonts

PHOTO = Facts("jpeg", 3_000_000, 4000, 3000)


def host_of(facts: Facts = PHOTO) -> SketchHost:
    """A host without an engine in front of it; every source has these facts."""
    made = SketchHost(
        Mrl("http://o.example/a.ms", "main", (), {}, ""),
        {},
        None,
        Fonts(None),
        locate=lambda line, column: (1, 1, None),
    )
    made.facts = lambda name: facts
    call(made, "Media", 1)
    return made


def call(host: SketchHost, name: str, handle: int = 1, /, **named: object) -> object:
    packed = {"named": [[key, value] for key, value in named.items()]}
    answer = json.loads(host.call(json.dumps([name if name == "Media" else f"media.{name}", handle, packed])))
    assert "problem" not in answer, host.problems
    return answer["value"]


def terms(*steps: tuple[str, dict], facts: Facts = PHOTO) -> dict[str, float]:
    host = host_of(facts)
    for name, named in steps:
        call(host, name, **named)
    return host.terms


LOAD, SAVE = ("load", {"name": "p.jpg"}), ("save", {"type": "jpeg"})


def test_a_thumbnail_is_decoded_smaller() -> None:
    """4000 to 800 is a fifth: the decoder takes a quarter, or with the finer scaler, which keeps a reserve of two, half.
    By the decoder for plain JPEG, unless there are several scans (decision 0017)."""
    found = terms(LOAD, ("scale", {"xs": 800, "ys": 600}), SAVE)
    assert found["load.jpeg.plain.by4"] == 36.0 and "load.jpeg" not in found
    smooth = terms(LOAD, ("scale", {"xs": 800, "ys": 600, "alg": "Smooth"}), SAVE)
    assert smooth["load.jpeg.plain.by2"] == 36.0 and smooth["load.jpeg.plain.bytes"] == 3.0
    assert found["save.jpeg"] == pytest.approx(1.44)
    assert found["load.jpeg.plain.bytes"] == 3.0 and "load.jpeg.bytes" not in found


def test_a_crop_behind_makes_a_step_cheaper_but_not_the_decoding() -> None:
    whole = terms(LOAD, ("adjustHsb", {"hue": 20}), SAVE)
    part = terms(LOAD, ("adjustHsb", {"hue": 20}), ("crop", {"xs": 400, "ys": 300}), SAVE)
    assert part["op.adjustHsb"] == pytest.approx(whole["op.adjustHsb"] / 100)
    assert part["load.jpeg"] == whole["load.jpeg"] == 36.0


def test_two_saves_decode_once_and_compute_twice() -> None:
    found = terms(LOAD, ("adjustHsb", {"hue": 20}), ("save", {"type": "jpeg", "name": "mem:/a"}), SAVE)
    assert found["load.jpeg"] == 36.0 and found["op.adjustHsb"] == 72.0


def test_what_nobody_looks_at_costs_nothing() -> None:
    assert "op.adjustHsb" not in terms(LOAD, ("adjustHsb", {"hue": 20}))


def test_sizes_are_those_of_the_real_steps() -> None:
    """The dry run and the real one must agree on width and height, or scripts that ask take another way."""
    data = pyvips.Image.black(400, 300, bands=3).copy(interpretation="srgb").jpegsave_buffer()
    steps = [
        ("scale", {"xs": 137, "constrain": True}), ("rotate", {"angle": 31}), ("crop", {"xs": 90, "x": -5}),
        ("pad", {"xs": "150%"}), ("zoom", {"xs": 77, "scale": 300}), ("rotate", {"angle": 270}),
        ("scale", {"x1": 3, "y1": 4, "x2": 40, "y2": 60, "xs": 50, "ys": 50, "constrain": True}), ("dropShadow", {}), ("convert", {"rtype": "Gray"}),
    ]  # fmt: skip
    from dservices.mediagen.formats import decoding

    picture = decoding.load(data, "x", check(MEDIA["load"], {"named": [["name", "x"]]}))
    host = host_of(Facts("jpeg", len(data), 400, 300))
    call(host, "load", name="x")
    for name, named in steps:
        args = check(MEDIA[name], {"named": [[key, value] for key, value in named.items()]})
        picture = methods.TRANSFORMS[name](None, picture, args)
        call(host, name, **named)
        if name == "dropShadow":  # the shadow's room is only about right
            assert call(host, "getWidth") == pytest.approx(picture.width, abs=12)
            break
        assert (call(host, "getWidth"), call(host, "getHeight")) == (picture.width, picture.height), name


@pytest.mark.parametrize("method", sorted(set(methods.TRANSFORMS) - {"setMetadata", "setPixel"}))
def test_every_transform_can_be_run_dry(method: str) -> None:
    """New methods are estimated as one pass under their own name until they are measured."""
    host = host_of()
    call(host, "load", name="p.jpg")
    call(host, "scale", xs=200, ys=150)
    call(host, "Media", 2)
    call(host, "load", 2, name="p.jpg")
    values = {"source": {"$": "media", "v": 2}, "media": {"$": "media", "v": 2}, "text": "T", "angle": 3, "index": 1, "matrix": "1,1,1,1,1,1,1,1,1",
              "destprofile": "rgb", "sourceprofile": "rgb", "points": "1,1;5,5;9,1", "rtype": "RGBA-32", "color": 5, "layers": None, "blend": "Normal",
              "name": "Top", "visible": True, "opacity": 100, "delay": 50}  # fmt: skip
    named = {}
    for name, (_, default) in MEDIA[method].parameters.items():
        if default is catalogue.REQUIRED:
            named[name] = values.get(name, 20)
    if method in ("composite", "selection"):
        named["source"] = values["source"]
    call(host, method, **named)
    call(host, "save", type="png")
    assert any(name.startswith("save.png.palette." if method == "reduce" else "save.png.6.") for name in host.terms)


@pytest.mark.parametrize("method", sorted(methods.QUERIES))
def test_every_query_has_a_dry_answer(method: str) -> None:
    assert hasattr(SketchHost, f"_query_{method}")


def test_the_model_multiplies_and_takes_relatives_for_the_unknown() -> None:
    model = Model({"a.x": 10.0, "a.y": 30.0, "a.call": 999.0, "b": 0.0}, 1, "t")
    assert model.cpu_ns({"a.x": 2.0, "b": 5.0}) == 20
    assert model.of("a.new") == 20.0
    assert model.of("c") == 0.0
    assert model.cpu_ns({"a.x": 1.0}, 2.5) == 25


def test_a_point_nobody_has_measured_costs_what_the_nearest_does() -> None:
    model = Model({"save.x.4.p0": 3.0, "save.x.4.p10": 7.0, "save.x.4.p30": 50.0}, 1, "t")
    assert model.of("save.x.4.p15") == 7.0 and model.of("save.x.4.p80") == 50.0
    assert model.of("save.x.9.p10") == 20.0


def test_an_estimate_is_as_uncertain_as_what_makes_up_its_cost() -> None:
    coefficients = {"request": 1.0, "save.gif.7.rich.p50": 1.0, "op.blur": 1.0}
    model = Model(coefficients, 1, "t", spread={"base": 0.05, "save.gif": 0.3, "op.blur": 0.04})
    sure, unsure = {"request": 10.0, "op.blur": 10.0}, {"request": 1.0, "save.gif.7.rich.p50": 19.0}
    assert 0.1 < model.within(sure) < 0.2 < 0.5 < model.within(unsure) <= 1.0
    assert model.within(sure, guessed=True) > model.within(sure) + 0.3
    assert model.within({"request": 1.0, "op.new": 50.0}) == 1.0  # nobody has measured most of it


def test_a_guessed_size_is_said(monkeypatch) -> None:
    host = host_of()
    known = json.loads(cost_model.answer_of(host, 100, None))
    host.guessed = True
    guessed = json.loads(cost_model.answer_of(host, 100, None))
    assert guessed["within_ppm"] > known["within_ppm"] and "guess" in guessed["basis"]
    partial = json.loads(cost_model.answer_of(host, 100, "script_failed"))
    assert partial["within_ppm"] is None and "partial: script_failed" in partial["basis"]


def layered(*steps: tuple[str, dict], facts: Facts = PHOTO) -> dict[str, float]:
    """Terms of a picture with a second one as its layer, and further steps."""
    host = host_of(facts)
    call(host, "Media", 2)
    for handle, width in ((1, 400), (2, 100)):
        call(host, "load", handle, name="p.jpg")
        call(host, "scale", handle, xs=width, ys=width)
    call(host, "setLayer", index=1, media={"$": "media", "v": 2})
    assert call(host, "getLayerCount") == 2
    for name, named in steps:
        call(host, name, **named)
    call(host, "save", type="png")
    return host.terms


def test_layers_are_put_on_each_other_when_somebody_looks() -> None:
    plain = layered()
    assert plain["ink.plain"] == pytest.approx(4 * (400 * 400 + 100 * 100) / 1e6) and plain["ink.plain.call"] == 2
    multiplied = layered(("setLayerBlend", {"index": 1, "blend": "Multiply"}))
    assert multiplied["ink.formula.alpha"] == pytest.approx(0.04)
    assert layered(("setLayerVisible", {"index": 1, "visible": False}))["ink.plain.call"] == 1
    assert layered(("collapse", {"layers": "1"}))["ink.plain"] == pytest.approx(0.04)


def test_a_step_is_for_the_layers_it_names() -> None:
    """Each is laid on the canvas first: 400 x 400 pixels of 4 channels."""
    assert layered(("blurBlur", {"layers": "1"}))["op.blurBlur"] == pytest.approx(0.64)
    assert layered(("blurBlur", {"layers": "Lay*,0"}))["op.blurBlur"] == pytest.approx(1.28)
    assert layered(("blurBlur", {}))["op.blurBlur"] == pytest.approx(1.28)
    assert layered(("drawText", {"text": "A", "size": 20}))["text.call"] == 1


def test_of_a_psd_the_layers_that_are_named_are_read() -> None:
    chart = calibration_scripts.chart(60, 40).bandjoin(255)
    data = calibration_scripts.photoshop_file(
        chart[0:3], [("ground", chart, 0, 0, b"norm"), ("sign", chart, 5, 5, b"mul ")]
    )
    facts = facts_of(data, len(data))
    assert [(layer.name, layer.width, layer.blend) for layer in facts.layers] == [
        ("ground", 60, "Normal"),
        ("sign", 60, "Multiply"),
    ]
    host = host_of(facts)
    call(host, "load", name="p.psd", layers="sign")
    assert (call(host, "getLayerCount"), call(host, "getLayerName", index=0)) == (1, "sign")
    call(host, "save", type="png")
    assert host.terms["load.psd"] == pytest.approx(60 * 40 * 4 / 1e6)
    assert host.terms["load.psd.bytes"] == pytest.approx(facts.layers[1].bytes / 1e6)
    assert terms(("load", {"name": "p.psd"}), SAVE, facts=facts)["load.psd"] == pytest.approx(60 * 40 * 3 / 1e6)


def test_the_trials_psd_is_one_that_is_read() -> None:
    from dservices.mediagen.formats import decoding

    chart = calibration_scripts.chart(70, 50).bandjoin(255)
    data = calibration_scripts.photoshop_file(chart[0:3], [("sign", chart, 9, 3, b"norm")])
    for named in ([["name", "p"]], [["name", "p"], ["layers", "sign"]]):
        picture = decoding.load(data, "p", check(MEDIA["load"], {"named": named}))
        flat = picture.images[0][0:3]
        assert (flat.width, flat.height) == (70, 50)
        if len(named) == 1:
            assert (flat - chart[0:3]).abs().max() == 0


def test_a_media_that_is_the_answers_object_is_saved() -> None:
    host = host_of()
    call(host, "load", name="p.jpg")
    packed = {"positional": [{"$": "media", "v": 1}, "cached", [["type", "jpeg"]]]}
    answer = json.loads(host.call(json.dumps(["resp.setObject", 0, packed])))
    assert "problem" not in answer and host.terms["save.jpeg"] == 36.0


def test_what_calibrate_writes_is_what_the_estimator_reads(tmp_path, monkeypatch) -> None:
    """One trial is the sum of two others' parts: the table made of their costs says what the costs were."""
    bodies = {
        f"{width} wide": f"m.makeCanvas(xs @ {width}, ys @ 500); m.save(type @ 'png', level @ 6);"
        for width in (10, 400, 900)
    }
    monkeypatch.setattr(calibration_scripts, "CALIBRATION", bodies)
    costs = {body: 0.5 + 0.001 * int(name.split()[0]) for name, body in bodies.items()}
    table, found = calibrate.table_of(costs, 7_000_000, tmp_path)
    assert table["trials"] == 3 and table["version"] == calibrate.VERSION
    assert max(abs(error) for error, _ in found) < 0.02
    written = tmp_path / cost_model.COEFFICIENTS
    calibrate.write(table, written)
    model = cost_model.read(written.read_text())
    assert model.yardstick_ns == 7_000_000 and model.coefficients == table["nanoseconds"]
    terms = calibrate.Rehearsal(tmp_path).terms(bodies["400 wide"])
    assert model.cpu_ns(terms) == pytest.approx(costs[bodies["400 wide"]] * 7_000_000, rel=0.02)


def test_passes_are_averaged_by_ratio_and_a_trial_may_lack_in_one() -> None:
    assert calibrate.averaged([{"a": 1.0, "b": 3.0}, {"a": 4.0}]) == pytest.approx({"a": 2.0, "b": 3.0})


def test_the_committed_table_is_of_these_trials() -> None:
    """Another set of trials or another form of the model means: calibrate again."""
    model = cost_model.model()
    assert model.version == calibrate.VERSION
    assert 0.97 * len(calibration_scripts.CALIBRATION) <= model.trials <= len(calibration_scripts.CALIBRATION)
    assert all(value >= 0 for value in model.coefficients.values())


def test_the_committed_table_prices_every_term_of_its_trials() -> None:
    """A term that a trial uses and the table lacks means: calibrate again."""
    model = cost_model.model()
    assert model.yardstick_ns > 0
    assert len(calibration_scripts.CALIBRATION) > 300
    host = host_of()
    for name in ("load", "scale", "drawText", "blurGaussianBlur", "save"):
        named = {
            "load": {"name": "p"},
            "scale": {"xs": 500, "ys": 400},
            "drawText": {"text": "a"},
            "save": {"type": "webp"},
        }
        call(host, name, **named.get(name, {}))
    assert not [name for name in host.terms if name not in model.coefficients]
    assert 20e6 < model.cpu_ns(host.terms) < 2e9


def test_a_text_is_about_as_large_as_it_will_be() -> None:
    from dservices.mediagen.operations import lettering

    fonts = Fonts(None)
    fonts.install()
    for text, size in (("Compute Generation Network", 36), ("A", 200), ("several\nlines of text", 20)):
        args = check(MEDIA["drawText"], {"named": [["text", text], ["size", size]]})
        mask = lettering.lettering_of(fonts, args, 72.0)
        width, height, _ = dry_run.text_size(args, 72.0)
        assert width == pytest.approx(mask.width, rel=0.4)
        assert height == pytest.approx(mask.height, rel=0.95)
