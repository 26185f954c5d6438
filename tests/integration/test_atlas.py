"""An atlas of a tiny model: the naive product's, whole after a kill, and searchable."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from reference import slow
from tiny_models import D_MLP, N_LAYERS

from molyneux.atlas import Atlas, open_atlas
from molyneux.atlas import build as building
from molyneux.atlas.build import build_atlas
from molyneux.atlas.pack import pack_atlas, shard_atlas
from molyneux.cli import main
from molyneux.errors import MolyneuxError, RunError, UsageError
from molyneux.models.choice import ModelChoice
from molyneux.neurons.decoding import words_by_chance
from molyneux.neurons.fakes import random_directions_pass
from molyneux.neurons.lens import HeadLens, JacobianLens
from molyneux.neurons.unit import Unit
from molyneux.words.dictionary import is_interpretable


def jacobian_of(model: Any) -> JacobianLens:
    """Return a lens of random numbers for a model."""
    generator = torch.Generator().manual_seed(5)
    shape = (model.n_layers - 1, model.d_model, model.d_stream)
    return JacobianLens({"photos": 3}, torch.randn(shape, generator=generator))


@pytest.fixture(scope="module")
def made(make_captioner: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny Llama, a lens, and the atlas of both."""
    model = make_captioner("llama").language_model
    lens, out = jacobian_of(model), tmp_path_factory.mktemp("atlas") / "llama"
    build_atlas(model, out, lens=lens, names={"language_model": "tiny-llama", "sha256": "ab"})
    return model, lens, open_atlas(out)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "gemma2", "opt_350m"])
def test_top_and_bottom_are_those_of_the_whole_product(
    kind: str, make_captioner: Callable[..., Any], tmp_path: Path
) -> None:
    """Every unit, by the tests' own slow reading of the weights, one number at a time."""
    model = make_captioner(kind).language_model
    build_atlas(model, tmp_path / "atlas")
    units = open_atlas(tmp_path / "atlas").units.to_pylist()
    assert [(u["layer"], u["unit"]) for u in units] == [
        (layer, unit) for layer in range(N_LAYERS) for unit in range(D_MLP)
    ]
    unembedding = model.unembedding().detach().double().numpy()
    for final_norm, lens in ((True, "norm"), (False, "none")):
        for row in units[:: 5 if final_norm else 11]:
            read = slow.read_row(
                kind, model.model, row["layer"], row["unit"], final_norm=final_norm
            )
            order = [token for _, token in slow.decode(read, unembedding, 1)]
            assert row[f"top_{lens}"] == order[:10]
            assert row[f"bottom_{lens}"] == order[:-11:-1]


def test_a_measured_lens_has_columns_of_its_own_but_of_the_last_layer(made: Any) -> None:
    model, lens, atlas = made
    assert atlas.lenses == ("none", "norm", "jacobian")
    unembedding = model.unembedding()
    for row in atlas.units.to_pylist()[::7]:
        if row["layer"] == N_LAYERS - 1:
            assert row["top_jacobian"] is None
            assert row["bottom_words_jacobian"] is None
            continue
        direction = lens.jacobians[row["layer"]] @ model.output_rows(row["layer"])[row["unit"]]
        order = (unembedding @ direction).argsort(descending=True).tolist()
        assert row["top_jacobian"] == order[:10]
        assert row["bottom_jacobian"] == order[:-11:-1]
    assert atlas.index.chance["random_directions"]["jacobian"][-1] is None


def test_words_their_chance_and_fakes_are_the_package_s_own(made: Any) -> None:
    model, _, atlas = made
    norms = np.stack([model.output_rows(layer).norm(dim=1).numpy() for layer in range(N_LAYERS)])
    for name in ("L0.u3", "L1.u40", "L2.u11"):
        unit = atlas.unit(name)
        for writes in unit.writes:
            assert writes.words == is_interpretable(writes.tokens)
            assert writes.suppressed_words == is_interpretable(writes.suppressed)
        assert unit.output_norm == pytest.approx(norms[unit.layer, unit.number], rel=1e-5)
        others = np.abs(norms[unit.layer] - norms[unit.layer, unit.number])
        others[unit.number] = np.inf
        assert unit.fake == f"L{unit.layer}.u{others.argmin()}"
    assert atlas.chance["random_tokens"] == words_by_chance(model)
    every = [Unit(1, unit) for unit in range(D_MLP)]

    def words(place: int, tokens: Any) -> bool:
        return is_interpretable(tokens)

    rate = random_directions_pass(model, every * 20, None, words, seed=0, lens=HeadLens(model))
    assert atlas.chance["random_directions"]["norm"][1] == pytest.approx(rate.share, abs=0.15)


def test_what_was_killed_goes_on_to_the_same_bytes(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, lens, atlas = made
    names = {"language_model": "tiny-llama", "sha256": "ab"}
    table, done = building._Reading.table, []

    def ends_in_the_second(self: Any, layer: int, schema: Any) -> Any:
        if layer == 1:
            raise KeyboardInterrupt
        return table(self, layer, schema)

    out = tmp_path / "atlas"
    with monkeypatch.context() as patch:
        patch.setattr(building._Reading, "table", ends_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            build_atlas(model, out, lens=lens, names=names)
    with pytest.raises(UsageError, match="holds no finished atlas"):
        open_atlas(out)
    (out / "units" / "L01.parquet").write_bytes(b"half of a fi")  # not whole: measured anew
    (out / "units" / "L02.parquet.part").write_bytes(b"what a kill leaves")
    build_atlas(model, out, lens=lens, names=names, on_layer=lambda *told: done.append(told))
    assert done == [(0, True), (1, False), (2, False)]
    for name in (*atlas.index.files, "atlas.json"):
        assert (out / name).read_bytes() == (atlas.folder / name).read_bytes(), name
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == sorted(
        path.name for path in atlas.folder.rglob("*") if path.is_file()
    )
    again = build_atlas(model, out, lens=lens, names=names, on_layer=_interrupted)
    assert again == atlas.index


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_atlas_is_not_mixed_in(made: Any, tmp_path: Path) -> None:
    model, _, atlas = made
    with pytest.raises(UsageError, match="an atlas of another lens"):
        build_atlas(model, atlas.folder, names={"language_model": "tiny-llama", "sha256": "ab"})
    with pytest.raises(UsageError, match="an atlas of another model"):
        build_atlas(model, atlas.folder, lens=jacobian_of(model), names={"sha256": "cd"})
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "study"}))
    with pytest.raises(UsageError, match="a run of molyneux study"):
        build_atlas(model, tmp_path)


def test_a_file_that_was_changed_is_refused(made: Any, tmp_path: Path) -> None:
    _, _, atlas = made
    pack_atlas(atlas, tmp_path / "packed")
    path = tmp_path / "packed" / "units.parquet"
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)
    with pytest.raises(RunError, match="not the file that was written"):
        open_atlas(tmp_path / "packed").find("dog")
    path.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        open_atlas(tmp_path / "packed").unit("L0.u1")
    (tmp_path / "packed" / "atlas.json").write_text("{")
    with pytest.raises(RunError, match="is not the file of an atlas"):
        open_atlas(tmp_path / "packed")


def by_hand(atlas: Atlas, lens: str, wanted: Callable[[str], bool]) -> dict[str, int]:
    """Return each unit that writes a wanted token, with the place of the first."""
    found = {}
    for row in atlas.units.to_pylist():
        for end, sign in (("top", ""), ("bottom", "-")):
            ids = row[f"{end}_{lens}"] or []
            places = [k for k, token in enumerate(ids) if wanted(atlas.tokens[token])]
            if places:
                found[f"L{row['layer']}.u{row['unit']}{sign}"] = places[0]
    return found


@pytest.mark.parametrize("lens", ["none", "norm", "jacobian"])
def test_units_are_found_by_word_prefix_layer_and_sign(made: Any, lens: str) -> None:
    _, _, atlas = made
    expected = by_hand(atlas, lens, lambda text: text.strip().lower() == "dog")
    assert len(expected) > 10
    found = atlas.find("Dog", lens=lens, top=None)
    assert {each.unit: each.rank for each in found} == expected
    assert [each.rank for each in found] == sorted(expected.values())
    assert all(each.tokens[each.rank] == each.token == " dog" for each in found)
    assert [each.unit for each in atlas.find("dog", lens=lens, top=3)] == [
        each.unit for each in found[:3]
    ]
    beginning = by_hand(atlas, lens, lambda text: text.strip().startswith("be"))
    assert {e.unit for e in atlas.find(prefix="be", lens=lens, top=None)} == set(beginning)
    some = atlas.find("dog", lens=lens, layer=(1, 2), sign=-1, top=None)
    assert {each.unit for each in some} == {
        name for name in expected if name.endswith("-") and name[1] in "12"
    }
    norms = [each.output_norm for each in atlas.find("dog", lens=lens, by="norm", top=None)]
    assert norms == sorted(norms, reverse=True)
    assert {each.layer for each in atlas.find("dog", lens=lens, layer=1, top=None)} <= {1}


def test_a_found_unit_says_what_the_unit_writes(made: Any) -> None:
    _, _, atlas = made
    for each in atlas.find("cat", top=6):
        writes = {w.lens: w for w in atlas.unit(each.unit).writes}["norm"]
        ends = (writes.tokens, writes.suppressed)
        assert (each.tokens, each.suppressed) == (ends if each.sign > 0 else ends[::-1])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "a word, a prefix or a concept"),
        ({"word": "dog", "prefix": "d"}, "a word, a prefix or a concept"),
        ({"word": " "}, "word"),
        ({"word": "dogs"}, "it begins with the token 'dog'"),
        ({"prefix": "dogs"}, "no token of tiny-llama begins 'dogs'"),
        ({"word": "dog", "layer": 3}, "a layer"),
        ({"word": "dog", "layer": (2, 1)}, "give the lower one first"),
        ({"word": "dog", "lens": "glass"}, "lens"),
        ({"word": "dog", "sign": 2}, "sign"),
        ({"word": "dog", "top": 0}, "top"),
    ],
)
def test_what_cannot_be_looked_for_is_one_line(made: Any, asked: Any, said: str) -> None:
    _, _, atlas = made
    with pytest.raises(UsageError, match=said) as caught:
        atlas.find(**asked)
    assert "\n" not in str(caught.value)


def test_units_and_folders_that_are_not_there_are_one_line(made: Any, tmp_path: Path) -> None:
    _, _, atlas = made
    for name in ("L3.u0", f"L0.u{D_MLP}", "dog"):
        with pytest.raises(UsageError):
            atlas.unit(name)
    for source in (tmp_path / "gone", "smollm2-effnet@1"):
        with pytest.raises(UsageError, match="there is no atlas"):
            open_atlas(source)
    with pytest.raises(UsageError, match="holds no finished atlas"):
        open_atlas(tmp_path)


def test_the_small_form_says_the_same(made: Any, tmp_path: Path) -> None:
    _, _, atlas = made
    packed = pack_atlas(atlas, tmp_path / "packed", ["norm"])
    assert packed.index == open_atlas(tmp_path / "packed").index
    assert packed.lenses == ("norm",)
    assert packed.find("dog", top=None) == atlas.find("dog", top=None)
    whole, small = atlas.unit("L1.u7"), packed.unit("L1.u7")
    assert small == dataclasses.replace(whole, writes=small.writes)
    assert small.writes[0] in whole.writes
    assert set(packed.chance["random_directions"]) == {"norm"}
    with pytest.raises(UsageError):
        pack_atlas(atlas, tmp_path / "other", ["glass"])


def test_shards_are_one_file_a_layer_that_browsers_read(made: Any, tmp_path: Path) -> None:
    _, _, atlas = made
    packed = pack_atlas(atlas, tmp_path / "packed")
    sharded = shard_atlas(packed, tmp_path / "shards", ["norm", "jacobian"])
    assert sharded.find("dog", top=None) == atlas.find("dog", top=None)
    assert sharded.units.equals(atlas.units.select(sharded.units.column_names))
    layers = [name for name in sharded.index.files if name.startswith("units/")]
    assert layers == [f"units/L{layer:02d}.parquet" for layer in range(N_LAYERS)]
    for name in sharded.index.files:
        file = pq.ParquetFile(sharded.folder / name)
        assert file.metadata.row_group(0).column(0).compression == "SNAPPY"


def test_the_query_of_the_page_finds_the_same(made: Any) -> None:
    duckdb = pytest.importorskip("duckdb")
    page = Path(__file__).parents[2] / "docs" / "atlas.md"
    query = page.read_text(encoding="utf-8").split("```sql\n")[1].split("```")[0]
    _, _, atlas = made
    query = query.replace("'atlas/", f"'{atlas.folder}/").replace("'water'", "'dog'")
    query = query.replace("BETWEEN 5 AND 12", "BETWEEN 1 AND 2")
    rows = duckdb.sql(query).fetchall()
    expected = {(e.layer, e.number) for e in atlas.find("dog", layer=(1, 2), sign=1, top=None)}
    assert {row[:2] for row in rows} == expected


def test_the_commands(
    make_captioner: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_captioner("gptj").language_model
    named = {"preset": None, "language_model": "tiny-gptj", "sha256": "ab"}
    monkeypatch.setattr(ModelChoice, "load_described", lambda self: (model, named))
    monkeypatch.setattr(ModelChoice, "measured_lens", lambda self, model: None)
    out = tmp_path / "atlas"
    status, said, err = run(capsys, "atlas", "build", "--out", out, "--json")
    assert status == 0, err
    document = json.loads(said)
    assert (document["units"], document["lenses"]) == (N_LAYERS * D_MLP, ["none", "norm"])
    status, said, err = run(capsys, "find", "dog", "--atlas", out, "--layer", "1-2", "--json")
    assert status == 0, err
    atlas = open_atlas(out)
    assert [e["unit"] for e in json.loads(said)] == [
        e.unit for e in atlas.find("dog", layer=(1, 2))
    ]
    status, said, err = run(
        capsys, *("find", "dog", "--atlas", out, "--by", "norm", "--lens", "none", "--sign=-")
    )
    lines = said.splitlines()
    assert [line.split()[0] for line in lines] == [
        e.unit for e in atlas.find("dog", by="norm", lens="none", sign=-1)
    ]
    assert "' dog'" in lines[0]
    status, said, _ = run(capsys, "find", "do", "--prefix", "--atlas", out, "--top", 2, "--json")
    assert [e["token"] for e in json.loads(said)] == [" dog", " dog"]
    status, _, err = run(capsys, "atlas", "build", "--out", out)
    assert status == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.png").write_bytes(b"1")
    for arguments, expected in (
        (["atlas", "build"], "needs --out DIR"),
        (["atlas", "build", "--out", tmp_path / "full"], "already holds something"),
        (["atlas", "burn", "--out", out], "build"),
        (["find", "dog", "--layer", "x", "--atlas", out], "--layer takes one"),
        (["find", "dog", "--layer", "9", "--atlas", out], "a layer"),
        (["find", "dog", "--atlas", tmp_path / "gone"], "there is no atlas"),
        (["find", "dogs", "--atlas", out], "it begins with the token 'dog'"),
    ):
        status, said, err = run(capsys, *arguments)
        assert (status, said) == (2, ""), (arguments, err)
        assert expected in err.strip().splitlines()[-1]


def test_searching_imports_no_torch(made: Any) -> None:
    _, _, atlas = made
    code = (
        "import sys; from molyneux.atlas import open_atlas; "
        f"open_atlas({str(atlas.folder)!r}).find('dog'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_shipped_atlas_is_of_the_default_preset_and_whole() -> None:
    atlas = open_atlas()
    assert atlas.index.model["preset"] == "smollm2-effnet"
    assert atlas.lenses == ("norm", "jacobian")
    assert atlas.units.num_rows == 46_080
    found = atlas.find("water", layer=(5, 12))
    assert found
    assert all("water" in each.token.lower() and 5 <= each.layer <= 12 for each in found)
    sizes = [path.stat().st_size for path in atlas.folder.iterdir()]
    assert sum(sizes) <= 6_000_000
    assert issubclass(RunError, MolyneuxError)


@pytest.mark.real
def test_the_shipped_atlas_is_what_the_weights_write() -> None:
    """500 units against one whole product; places whose logits all but agree may change."""
    choice = ModelChoice()
    model, described = choice.load_described()
    atlas, lens = open_atlas(), choice.measured_lens(model)
    assert lens is not None
    assert atlas.index.model["sha256"] == described["sha256"]
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(model.n_units, generator=generator)[:500].tolist()
    unembedding = model.unembedding().float()
    for name, reads in (("norm", HeadLens(model)), ("jacobian", lens)):
        for place in chosen:
            layer, unit = divmod(place, model.d_mlp)
            if not reads.reads(layer):
                continue
            logits = unembedding @ reads(layer, model.output_rows(layer)[unit].float())
            row = atlas.units.slice(place, 1).to_pylist()[0]
            for end, sign in (("top", 1), ("bottom", -1)):
                signed = sign * logits
                best = signed.topk(10).values
                kept = signed[row[f"{end}_{name}"]]
                torch.testing.assert_close(kept, best, rtol=1e-4, atol=1e-5)
