"""What is varied becomes jobs, and every value keeps its place."""

from hypothesis import given
from hypothesis import strategies as st

from app.studies.variations import at_an_edge, grid, label, varied

AXES = st.dictionaries(
    st.sampled_from(["n_epochs", "batch_size", "seed", "model"]),
    st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True),
    min_size=1,
    max_size=3,
)


@given(AXES)
def test_a_grid_has_every_combination_once(axes: dict[str, list[int]]) -> None:
    points = list(grid(axes))
    size = 1
    for values in axes.values():
        size *= len(values)
    assert len(points) == size == len({tuple(one.items()) for one in points})
    assert all(list(one) == list(axes) for one in points)
    for name, values in axes.items():
        assert {one[name] for one in points} == set(values)


def test_hyperparameters_are_laid_over_the_jobs_own_and_the_rest_stays() -> None:
    job = {"model": "gpt-4.1-mini", "hyperparameters": {"n_epochs": 3, "batch_size": 4}, "suffix": "x"}
    settings = {"n_epochs": 5, "model": "gpt-4.1-nano", "seed": 7}
    assert varied(job, settings) == {
        "model": "gpt-4.1-nano",
        "seed": 7,
        "suffix": "x",
        "hyperparameters": {"n_epochs": 5, "batch_size": 4},
    }
    assert job["hyperparameters"] == {"n_epochs": 3, "batch_size": 4}
    assert label(settings) == "n_epochs 5, model gpt-4.1-nano, seed 7"
    assert label({}) == "as given"


def test_the_outermost_of_three_tried_values_is_at_an_edge_and_one_of_two_is_not() -> None:
    tried = [{"n_epochs": value, "seed": value} for value in (2, 3, 5)]
    assert at_an_edge("n_epochs", 2, tried) == "lowest"
    assert at_an_edge("n_epochs", 1, [{"n_epochs": 1}, *tried]) is None
    assert at_an_edge("n_epochs", 3, tried) is None
    assert at_an_edge("n_epochs", 5, tried) == "highest"
    assert at_an_edge("n_epochs", 5, tried[1:]) is None
    assert at_an_edge("seed", 5, tried) is None
