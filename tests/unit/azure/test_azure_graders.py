"""Graders over the wire: a refusal is a verdict, an answer is read whatever of it is there."""

from collections.abc import Iterator

import pytest
from scripted_wire import Says, Wire, scripted_wire
from test_azure_creates_once import plane

from app.azure.port import ApiStyle, NotThere, Refused, Unavailable

GRADER = {
    "type": "string_check",
    "name": "right",
    "input": "{{sample.output_text}}",
    "reference": "{{item.a}}",
    "operation": "eq",
}


@pytest.fixture
def wire() -> Iterator[Wire]:
    with scripted_wire() as found:
        yield found


def test_a_grader_azure_takes_is_accepted(wire: Wire):
    wire.will(Says(200, {"grader": GRADER}))
    verdict = plane(wire).validate_grader(GRADER)
    assert verdict.accepted
    assert not verdict.message
    assert wire.asked[0].path == "/openai/v1/fine_tuning/alpha/graders/validate"
    assert wire.asked[0].json() == {"grader": GRADER}


def test_a_grader_azure_refuses_is_a_verdict_in_its_own_words(wire: Wire):
    wire.will(Says(400, {"error": {"code": "invalidPayload", "message": "no operation 'xx'"}}))
    verdict = plane(wire).validate_grader(GRADER)
    assert not verdict.accepted
    assert "no operation 'xx'" in verdict.message


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (Says(404, {"error": {"code": "404", "message": "Resource not found"}}), NotThere),
        (Says(503, b""), Unavailable),
    ],
)
def test_what_is_no_word_about_the_grader_is_no_verdict(wire: Wire, says: Says, error: type[Exception]):
    wire.will(says)
    with pytest.raises(error):
        plane(wire).validate_grader(GRADER)


def test_a_graded_answer_tells_its_reward_its_faults_and_its_tokens(wire: Wire):
    wire.will(
        Says(
            200,
            {
                "reward": 0.25,
                "metadata": {
                    "name": "right",
                    "type": "multi",
                    "errors": {
                        "sample_parse_error": True,
                        "other_error": False,
                        "python_grader_runtime_error": True,
                        "python_grader_runtime_error_details": "KeyError: 'a'",
                        "python_grader_server_error_type": None,
                    },
                    "execution_time": 0.1,
                    "scores": {"a": 0.5},
                    "token_usage": 40,
                    "sampled_model_name": "o3-mini",
                },
                "sub_rewards": {"a": 0.5, "odd": None},
                "model_grader_token_usage_per_model": {"o3-mini": 40},
            },
        )
    )
    graded = plane(wire).run_grader(GRADER, item={"a": "x"}, answer="x")
    assert graded.reward == 0.25
    assert graded.errors == {"sample_parse_error": "", "python_grader_runtime_error": "KeyError: 'a'"}
    assert graded.scores == {"a": 0.5}
    assert graded.tokens == {"o3-mini": 40}
    assert wire.asked[0].json() == {"grader": GRADER, "item": {"a": "x"}, "model_sample": "x"}


def test_tokens_that_are_told_only_as_a_whole_are_the_sampled_models(wire: Wire):
    wire.will(Says(200, {"reward": 1, "metadata": {"token_usage": 12, "sampled_model_name": "o3-mini"}}))
    graded = plane(wire).run_grader(GRADER, item={}, answer="x")
    assert graded.tokens == {"o3-mini": 12}
    assert graded.reward == 1.0
    assert not graded.errors


def test_the_dated_form_knows_no_graders_and_is_not_asked(wire: Wire):
    with pytest.raises(Refused) as caught:
        plane(wire, ApiStyle.DATED).validate_grader(GRADER)
    assert caught.value.code == "azure_graders_unsupported"
    assert not wire.asked
