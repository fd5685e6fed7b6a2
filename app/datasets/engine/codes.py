"""The one list of everything a check can find: name, severity, meaning, remedy.

Must not know how a defect is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from app.datasets.engine.report import Severity

Fix = Literal["repair", "drop"]
"""How the service makes a version without the finding: by mending the line, or by leaving it out."""
_REPAIR: Final[Fix] = "repair"
_DROP: Final[Fix] = "drop"
_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding."""

    name: str
    severity: Severity
    meaning: str
    remedy: str
    fix: Fix | None = None
    """How a new version without it is made; None where that would mean inventing content."""

    @property
    def fixable(self) -> bool:
        return self.fix is not None


_UNLEAK: Final = (
    "Drop them from one of the two: the lines named here are the validation file's, for `drop`; or make both anew"
    " with `split`, which keeps together what is alike."
)
_REDACT: Final = "Redact it, unless it is meant to be learnt: a model may repeat what it was trained on."

_ALL = (
    # The file
    Code("empty-file", _E, "The file has no content.", "Upload the file again; it arrived empty."),
    Code(
        "not-text",
        _E,
        "The file is not text.",
        "Export the data as JSON Lines (UTF-8 text, one JSON object per line).",
    ),
    Code("utf-16", _E, "The file is UTF-16 or UTF-32 text; Azure reads UTF-8.", "Save it as UTF-8.", _REPAIR),
    Code("bom", _N, "The file begins with a byte-order mark.", "Nothing to do: it has been removed.", _REPAIR),
    Code(
        "other-encoding",
        _E,
        "The file is text in an encoding other than UTF-8; Azure reads UTF-8.",
        "Convert it (`kitae datasets convert FILE -o OUT.jsonl --encoding …`), or upload it and say which"
        " encoding it is in: a version is written in UTF-8.",
        _REPAIR,
    ),
    Code(
        "undecodable",
        _E,
        "The file has bytes that its encoding does not have.",
        "Say which encoding it is in, or save it as UTF-8.",
    ),
    Code(
        "compressed",
        _E,
        "The file is packed; Azure reads plain text.",
        "Convert it (`kitae datasets convert FILE -o OUT.jsonl`), or upload it as it is: a version is written"
        " unpacked.",
        _REPAIR,
    ),
    Code("archive-refused", _E, "The packed file was not opened.", "Unpack it, and give the one file in it."),
    Code(
        "needs-conversion",
        _E,
        "This is data in another layout than Azure trains on, which we can convert.",
        "Convert it (`kitae datasets convert FILE -o OUT.jsonl`), or upload it as it is: a version holds the"
        " converted rows.",
        _REPAIR,
    ),
    Code(
        "converted",
        _N,
        "The content was made from a file of another kind.",
        "Nothing to do; look at the first rows.",
    ),
    Code(
        "no-mapping",
        _E,
        "Nothing says which column is asked and which one is the answer.",
        "Say what each column is, such as --mapping question=user,answer=assistant.",
    ),
    Code(
        "mapping-unfit",
        _E,
        "The mapping names a column that the file does not have.",
        "Correct the name in the mapping.",
    ),
    Code("table-error", _E, "The table cannot be read.", "Export it again, as CSV in UTF-8."),
    Code(
        "ragged-row",
        _W,
        "Rows have more or fewer cells than the header has columns.",
        "Check the quotes of the rows named; what a row has too many was left out.",
    ),
    Code(
        "file-too-large",
        _E,
        "The file is larger than Azure accepts.",
        "Split it, or sample from it; lines beyond the limit were not examined.",
    ),
    Code(
        "wrong-kind",
        _E,
        "This is data of another kind, not chat examples.",
        'Convert each row to {"messages": [{"role": "user", …}, {"role": "assistant", …}]}.',
    ),
    Code(
        "json-array",
        _E,
        "The file is one JSON array, not JSON Lines.",
        "Write each element of the array on a line of its own, without commas between the lines.",
        _REPAIR,
    ),
    Code(
        "fewer-than-10-examples",
        _E,
        "The file has fewer examples than Azure needs to start a job.",
        "Add examples; 10 are the minimum, 50 to 100 good ones the usual start.",
    ),
    Code("mixed-keys", _N, "Rows have different sets of keys.", "Check that this is meant."),
    Code(
        "duplicates-not-compared",
        _N,
        "The file has too many examples to compare all of them.",
        "Split the file to have each part compared.",
    ),
    Code(
        "too-many-defects",
        _E,
        "The file has so many errors that the rest was not examined.",
        "Cure the errors found so far, or write the file anew; then check it again.",
    ),
    # The line
    Code("blank-line", _E, "A line between the examples is empty.", "Remove the empty lines.", _REPAIR),
    Code("trailing-blank-line", _N, "The file ends in empty lines.", "Remove them if you like.", _REPAIR),
    Code("crlf", _N, "Lines end in CR LF (Windows).", "Nothing to do: Azure accepts it.", _REPAIR),
    Code(
        "line-too-long",
        _E,
        "A line is longer than we read.",
        "Check whether line breaks are missing; shorten or drop the example.",
        _DROP,
    ),
    Code("invalid-utf-8", _E, "Bytes that are not UTF-8.", "Save the file as UTF-8."),
    Code(
        "json-error",
        _E,
        "The line is not valid JSON.",
        "Correct the line at the named column; write files with a JSON library, not by hand.",
    ),
    Code(
        "pretty-printed",
        _E,
        "One JSON object is spread over several lines.",
        "Write each object on one line.",
        _REPAIR,
    ),
    Code(
        "raw-line-break",
        _E,
        "A line break stands inside a text and tears the object apart.",
        "Write line breaks inside texts as \\n.",
        _REPAIR,
    ),
    Code("too-deep", _E, "Objects or arrays are nested too deeply.", "Flatten the data."),
    Code(
        "duplicate-key",
        _E,
        "A key stands twice in one object; readers disagree on which one counts.",
        "Keep one of the two.",
    ),
    Code("not-a-number", _E, "NaN or Infinity, which JSON does not have.", "Write null or leave the key out."),
    Code("number-out-of-range", _E, "A number too large to be stored.", "Write it as a string, or correct it."),
    Code(
        "lone-surrogate",
        _E,
        "Half of a surrogate pair: a character was cut in two.",
        "Write the whole character, or remove the half.",
    ),
    Code("nul-character", _E, "A text contains the NUL character.", "Remove it.", _REPAIR),
    Code(
        "row-not-object",
        _E,
        "The line is JSON, but not an object.",
        'Write {"messages": […]} on each line.',
    ),
    # The example
    Code(
        "no-messages",
        _E,
        "The row has no list of messages.",
        'Put the conversation under the key "messages", or say which key is what:'
        " --mapping question=user,answer=assistant.",
    ),
    Code(
        "unknown-key",
        _E,
        'A key beside "messages" that chat examples do not have.',
        "Remove it; allowed are messages, tools, parallel_tool_calls (and the older functions).",
        _REPAIR,
    ),
    Code("no-user", _E, "The conversation has no user message.", "Add the user's side."),
    Code(
        "no-assistant",
        _E,
        "The conversation has no assistant message: there is nothing to learn.",
        "Add the answer the model should give, or drop the line.",
        _DROP,
    ),
    Code(
        "last-message-not-assistant",
        _E,
        "The conversation does not end with the assistant.",
        "End it with the answer the model should give, or drop what follows the last answer.",
        _REPAIR,
    ),
    Code(
        "system-not-first",
        _W,
        "A system or developer message stands after other messages.",
        "Put it first, as it will stand when the model is used.",
    ),
    Code(
        "consecutive-assistant",
        _N,
        "Two assistant messages follow one another.",
        "Join them if they are one answer.",
    ),
    Code(
        "nothing-trained",
        _E,
        "Every assistant message has weight 0: there is nothing to learn.",
        "Give one answer weight 1, or drop the line.",
        _DROP,
    ),
    Code(
        "over-long-example",
        _E,
        "The example has more tokens than the model accepts.",
        "Drop these lines into a new version, or shorten the examples.",
        _DROP,
    ),
    # Pairs and graded examples
    Code(
        "preference-shape",
        _E,
        "A preference pair lacks its prompt or one of its two answers.",
        'Write {"input": {"messages": […]}, "preferred_output": […], "non_preferred_output": […]}.',
    ),
    Code(
        "preference-role",
        _E,
        "An answer of a preference pair holds a message that is neither the assistant's nor a tool's.",
        "Move it into the input's messages.",
    ),
    Code(
        "same-preference",
        _E,
        "The better and the worse answer of a pair are the same: there is nothing to prefer.",
        "Drop the pair, or write another answer.",
        _DROP,
    ),
    Code(
        "last-message-not-user",
        _E,
        "A reinforcement example does not end with the user: there is nothing to answer.",
        "Drop what follows the last user message; keep the expected answer in a member beside the messages.",
        _REPAIR,
    ),
    Code(
        "grader-field-missing",
        _E,
        "The grader reads a member that the row does not have.",
        "Add the member beside the messages, or correct its name in the grader.",
    ),
    Code(
        "grader-field-empty",
        _W,
        "The grader reads a member that is empty in the row.",
        "Fill it in, or drop the row: there is nothing to compare the answer with.",
    ),
    Code(
        "grader-reference",
        _W,
        "The grader has a reference in double braces that nothing fills.",
        "Write {{item.…}} for a member of the row, {{sample.…}} for the answer.",
    ),
    Code(
        "no-reference",
        _W,
        "The row has nothing beside its messages that a grader could compare the answer with.",
        "Add the expected answer, such as a member named reference, unless the grader needs none.",
    ),
    Code("too-many-images", _E, "The example has more images than Azure accepts.", "Split the example."),
    Code(
        "too-many-image-examples",
        _E,
        "The file has more examples with images than Azure accepts.",
        "Sample from it: `transform` with an operation `sample`.",
    ),
    Code(
        "tokens-times-epochs",
        _N,
        "With so many tokens Azure does not take as many epochs as one may ask for.",
        "Ask for no more epochs than named, or sample from the file.",
    ),
    # The message
    Code("message-shape", _E, "A message is not an object.", 'Write {"role": …, "content": …}.'),
    Code(
        "unknown-role",
        _E,
        "A message has no role, or one that does not exist.",
        "Use system, developer, user, assistant or tool.",
    ),
    Code(
        "unknown-message-key",
        _E,
        "A message has a key that chat messages do not have.",
        "Remove the key.",
        _REPAIR,
    ),
    Code(
        "misplaced-message-key",
        _E,
        "A message has a key that belongs to another role.",
        "Move or remove the key.",
    ),
    Code("name-shape", _E, "The name of a message is not a text.", "Write the name as a string.", _REPAIR),
    Code("empty-content", _E, "A message has no content.", "Write the text, or drop the line.", _DROP),
    Code("content-shape", _E, "Content is neither a text nor a list of parts.", "Write the content as a string."),
    Code(
        "unknown-content-part",
        _E,
        "A content part of a type that training does not know.",
        "Use parts of type text and image_url; write tool calls as tool_calls and tool messages.",
    ),
    Code("image-not-from-user", _E, "An image outside a user message.", "Move the image to a user message."),
    Code(
        "image-url",
        _E,
        "An image is not given as an https address or a data URL of a JPEG, PNG or WEBP.",
        'Write {"type": "image_url", "image_url": {"url": "https://…"}}.',
    ),
    Code(
        "image-over-http",
        _W,
        "An image is given by an http address; the documentation asks for https.",
        "Write the https address, or the image as a data URL.",
    ),
    Code(
        "image-data",
        _E,
        "An image given as data is not the JPEG, PNG or WEBP that it is called.",
        "Encode the image anew as Base64, and name its type.",
    ),
    Code("image-too-large", _E, "An image has more bytes than Azure accepts.", "Scale it down."),
    Code("image-detail", _E, "The detail of an image is not low, high or auto.", "Write low, high or auto."),
    Code("weight-value", _E, "A weight other than 0 or 1.", "Write 0 (do not learn this answer) or 1."),
    Code("weight-not-assistant", _E, "A weight on a message that is never learnt.", "Remove the weight.", _REPAIR),
    # Tools
    Code(
        "tools-shape",
        _E,
        "The list of tools is not well formed.",
        'Write {"type": "function", "function": {"name": …, "parameters": {…}}} for each tool.',
    ),
    Code(
        "tools-schema",
        _W,
        "The parameters of a tool are no sound JSON Schema; the model is told what cannot be meant.",
        "Correct the schema: types, properties, and names that are required.",
    ),
    Code("parallel-tool-calls-shape", _E, "parallel_tool_calls is not true or false.", "Write true or false."),
    Code(
        "tool-calls-shape",
        _E,
        "A tool call is not well formed.",
        'Write {"id": …, "type": "function", "function": {"name": …, "arguments": "…"}}.',
    ),
    Code(
        "arguments-not-json",
        _E,
        "The arguments of a call are not a JSON text.",
        "Write the arguments as a string that contains JSON.",
    ),
    Code(
        "arguments-unfit",
        _W,
        "The arguments of a call are not those that the tool declares.",
        "Correct the call, or the parameters of the tool: the model learns to call it like that.",
    ),
    Code("tool-not-declared", _W, "A call to a function the row does not declare.", "Add it to the row's tools."),
    Code(
        "tool-reply-without-call",
        _E,
        "A tool message answers no call.",
        "Give the call before it the same id (tool_call_id), or remove the message.",
    ),
    Code(
        "call-without-tool-reply",
        _E,
        "A call in the middle of the conversation is not answered.",
        "Add a tool message with its id, or end the example at the call.",
    ),
    # The text
    Code(
        "template-placeholder",
        _W,
        "A placeholder such as {{name}} or [INSERT …] was never filled in; the model will learn to write it.",
        "Fill it in.",
    ),
    Code(
        "answer-outer-whitespace",
        _N,
        "Answers begin or end in white space; the model will learn it.",
        "Trim the answers.",
        _REPAIR,
    ),
    Code(
        "control-char",
        _N,
        "Control characters inside texts.",
        "Remove them; often they come from PDF files.",
        _REPAIR,
    ),
    Code("zero-width", _N, "Invisible characters inside texts.", "Remove them.", _REPAIR),
    Code(
        "hidden-text",
        _W,
        "Characters that hide text or turn it around: direction overrides, or tag characters outside of flags.",
        "Read the lines as they are stored, then remove the characters: the model reads what nobody sees.",
        _REPAIR,
    ),
    Code(
        "truncated-answer",
        _N,
        "An answer ends in the middle of a sentence, or in a block of code that is never closed.",
        "Finish it, or drop the line: the model will learn to stop there.",
    ),
    Code(
        "answers-cut-off",
        _W,
        "Several different answers end at one and the same length, the greatest of all: something cut them.",
        "Export them again without the limit, such as that of a column or of max_tokens.",
    ),
    Code(
        "refusal-answer",
        _N,
        "An answer refuses, or says that it is an AI; often that came along from another model.",
        "Drop the lines, unless the model is to answer like that.",
    ),
    Code(
        "mojibake",
        _W,
        "Garbled characters: bytes that were read in another encoding than they were written in.",
        "Export the data again as UTF-8; or `fix --code mojibake`, which mends whatever is UTF-8 to the last byte"
        " when it is put together again.",
    ),
    Code(
        "replacement-char",
        _W,
        "The character U+FFFD: something that could not be read was lost.",
        "Write what stood there; the source may still have it.",
    ),
    Code(
        "content-safety",
        _N,
        "A phrase that texts of a kind which Azure screens for often have; it may be proper here.",
        "Read the lines; if Azure refuses the data, begin with them.",
    ),
    # Private data
    Code(
        "secret",
        _W,
        "Something that looks like a key, a token or a password.",
        "Revoke it, and redact it: a model may repeat what it was trained on.",
    ),
    Code("pii-card", _W, "A number with the form and check digit of a payment card.", _REDACT),
    Code("pii-iban", _W, "A number with the form and check digits of a bank account (IBAN).", _REDACT),
    Code("pii-my-number", _W, "A number with the check digit of a Japanese individual number.", _REDACT),
    Code("pii-ssn", _W, "A number with the form of a US social security number.", _REDACT),
    Code("pii-email", _N, "An e-mail address.", _REDACT),
    Code("pii-phone", _N, "A telephone number.", _REDACT),
    Code("pii-ip-address", _N, "A public IP address.", _REDACT),
    # Across the rows
    Code(
        "inconsistent-system-prompt",
        _N,
        "A few rows have another system prompt than the rest, or none, or one that differs in its spelling alone.",
        "Give all rows the prompt that the model will be used with, unless the difference is meant.",
    ),
    Code(
        "same-answer",
        _W,
        "Most examples have the same answer; the model will learn to give it.",
        "Drop most of them, or check how the answers were made.",
    ),
    Code(
        "label-imbalance",
        _N,
        "The answers are labels, and one of them outnumbers the rest by far.",
        "Add examples of the others or drop some of it, unless that is how often they really occur.",
    ),
    Code(
        "tiny-class",
        _N,
        "The answers are labels, and some of them have hardly any examples.",
        "Add examples of them, or join them with others.",
    ),
    Code(
        "label-spelling",
        _W,
        "A label is written in two ways; the model cannot know which one is meant.",
        "Write it in one way.",
    ),
    Code(
        "exact-duplicate", _N, "The same example again.", "Drop the repetitions, unless the weight is meant.", _DROP
    ),
    Code(
        "conflicting-answer",
        _N,
        "The same prompt with another answer.",
        "Keep the better answer, unless variety is meant.",
    ),
    Code(
        "near-duplicate",
        _N,
        "The same as another example in almost the same words, system prompts left out.",
        "Keep one of them, unless the weight is meant.",
    ),
    Code(
        "leakage",
        _W,
        "Validation examples stand in the training file, so the validation loss looks better than it is.",
        _UNLEAK,
    ),
    Code(
        "near-leakage",
        _W,
        "Validation examples stand in the training file in almost the same words; they measure little.",
        _UNLEAK,
    ),
    Code(
        "in-another-dataset",
        _W,
        "Examples stand in another dataset of the project, too, which cannot measure a model trained on these.",
        "Drop them here (`drop` with the lines named), unless both are meant for training.",
    ),
    Code(
        "near-in-another-dataset",
        _N,
        "Examples stand in another dataset of the project in almost the same words.",
        "Drop them here (`drop` with the lines named), unless both are meant for training.",
    ),
)

CODES = {code.name: code for code in _ALL}


def render_codes_markdown() -> str:
    """The page docs/reference/findings.md, written from this list."""
    rows = [
        f"| `{code.name}` | {code.severity} | {code.meaning} | {code.remedy} | {code.fix or ''} |" for code in _ALL
    ]
    return "\n".join(
        (
            "# Findings of a dataset check",
            "",
            "Generated from `app/datasets/engine/codes.py`; do not edit.",
            "An error rejects the file; warnings and notes do not.",
            "A finding with a fix can be removed without inventing content: the line is repaired or dropped.",
            "",
            "| code | severity | meaning | remedy | fix |",
            "|---|---|---|---|---|",
            *rows,
            "",
        )
    )
