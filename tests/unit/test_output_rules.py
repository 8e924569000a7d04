"""What the rules of a job say of an output: bytes in, findings with their evidence out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightdesk.core.configuration import parse_config
from nightdesk.core.outputs.judging import Beside, judged, summed, why_refused
from nightdesk.core.outputs.languages import NAMES, STOP_WORDS, guess
from nightdesk.core.outputs.prose import repetition, truncation
from nightdesk.core.outputs.texts import Output, blocks, headings
from nightdesk.model.config import OutputRules
from nightdesk.model.errors import ConfigError
from nightdesk.model.outputs import RuleResult

REPORT = """# Council, 4 November

## 1. **Summary**

The council met on 2025-11-04 and spoke about the bridge for three hours. It was decided that the work will begin in
spring, and that the city pays for it.

Decisions
---------

- The bridge is built before the road is.

```python
# Not a heading
print("x")
```

The next meeting is in May, and everybody who wants to speak can do so there.
"""


ALONE = Beside()


def looked(content: str | bytes, name: str = "report.md", beside: Beside = ALONE, **rules: Any) -> RuleResult:
    """What the one rule that is asked for says."""
    body = content if isinstance(content, bytes) else content.encode()
    results = judged(OutputRules(**rules), Output(name, body), len(body), beside)
    assert [each.rule for each in results[:1]] == ["exists"] and len(results) == 2
    return results[1]


def test_required_headings_are_found_however_they_are_dressed() -> None:
    found = looked(REPORT, headings=("summary", "## Decisions", "# Council, 4 November"))
    assert (found.state, found.score) == ("passed", 1.0)
    found = looked(REPORT, headings=("Summary", "### Decisions", "Budget"))
    assert found.state == "failed" and found.score == pytest.approx(1 / 3)
    assert found.evidence == "it lacks the heading ### Decisions and 1 more"
    assert looked(REPORT, headings=("Not a heading",)).state == "failed", "what stands in code is no heading"


def test_patterns_must_be_found_and_forbidden_ones_must_not() -> None:
    assert looked(REPORT, patterns=(r"^\# Council", r"\d{4}-\d\d-\d\d")).state == "passed"
    found = looked(REPORT, patterns=("mayor", "bridge"))
    assert (found.state, found.score, found.evidence) == ("failed", 0.5, "it does not match mayor")
    found = looked(REPORT + "\nAs an AI\nlanguage model, I can't.", forbidden=(r"(?i)as an ai\s+language",))
    assert found.state == "failed" and found.evidence.endswith("says “As an AI language”")


def test_a_size_is_within_its_limits_or_the_finding_says_both() -> None:
    assert looked("x" * 100, min_bytes=100, max_bytes=100).state == "passed"
    assert looked("x" * 50, min_bytes=100).evidence == "it has 50 B, at least 100 B are asked for"
    assert looked("x" * 200, max_bytes=100).score == 0.5


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        (REPORT, None),
        ("", "it has no text"),
        (
            REPORT + "\nThen the council went on to talk about the roof of the old school and the",
            "in the middle",
        ),
        (REPORT + "\n## Open questions\n", "nothing follows the heading “Open questions”"),
        (REPORT + "\n```python\nprint('x')\n", "is never closed"),
        (REPORT + "\n[truncated]", "it says so itself"),
        (REPORT + "\nThe following were there: the mayor,", "it ends with"),
        (REPORT + "\n- the bridge\n- the road\n", None),
        (REPORT + "\n| a | b |\n|---|---|\n| 1 | 2 |\n", None),
        (REPORT + "\nYours\nThe clerk\n", None),
        (REPORT + "\n---\n", None),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23", None),
        (
            "Es ist spät. „Gute Nacht“, sagte sie und ging. Er sah ihr nach und lächelte still vor sich hin.“",
            None,
        ),
    ],
)
def test_a_text_without_its_end_is_told_from_one_that_ends(text: str, evidence: str | None) -> None:
    found = truncation(text)
    assert (found is None) if evidence is None else (found is not None and evidence in found), found


def test_json_that_breaks_off_is_truncated_and_its_texts_are_looked_at_too() -> None:
    whole = json.dumps({"reply": {"text": REPORT}})
    assert looked(whole, "a.json", not_truncated=True, text="reply.text").state == "passed"
    assert "not JSON" in looked(whole[:-5], "a.json", not_truncated=True).evidence
    assert looked('{"a": 1}', "a.json", not_truncated=True, text="reply.text").evidence == (
        "it has no text at reply.text"
    )
    segments = json.dumps({"segments": [{"text": "One."}, {"text": "Two and the,"}]})
    assert "ends with" in looked(segments, "a.json", not_truncated=True, text="segments.text").evidence


def test_repetition_is_found_at_the_end_in_rows_and_in_paragraphs() -> None:
    assert repetition(REPORT) is None
    babble = REPORT + "and then it goes on. " * 60
    found = repetition(babble)
    assert found is not None and "and then it goes on" in found.evidence and found.share > 0.5
    rows = "Well.\n" + "Thank you for watching.\n" * 5 + "The end of the evening was quiet.\n"
    found = repetition(rows)
    assert (
        found is not None and found.evidence == "5 lines in a row up to line 6 say “thank you for watching”"
    )
    paragraph = (
        "The council met and spoke about the bridge for three hours, until everybody was tired of it.\n\n"
    )
    found = repetition((paragraph + "Something else was said in between.\n\n") * 3)
    assert found is not None and "3 paragraphs say" in found.evidence


SENTENCES = {
    "de": "Der Rat hat sich getroffen und über die Brücke gesprochen, weil sie nicht mehr sicher ist und die Stadt "
    "das Geld für den Bau schon in diesem Jahr ausgeben will.",
    "en": "The council has met and spoken about the bridge, because it is not safe any more and the city wants to "
    "spend the money for the work in this year.",
    "fr": "Le conseil s'est réuni et a parlé du pont, parce qu'il n'est plus sûr et que la ville veut dépenser "
    "l'argent pour les travaux dans cette année.",
    "es": "El consejo se ha reunido y ha hablado del puente, porque ya no es seguro y la ciudad quiere gastar el "
    "dinero para las obras en este año.",
    "ru": "Совет собрался и говорил о мосте, потому что он больше не безопасен и город хочет потратить деньги.",
    "ja": "評議会は橋について話し合いました。橋はもう安全ではなく、市は今年中に工事のためのお金を使います。",
    "zh": "市议会开会讨论了这座桥，因为它已经不再安全，市政府希望在今年内把钱花在工程上，不再拖延到明年。",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_languages_are_told_apart_by_an_estimate(code: str) -> None:
    assert guess(SENTENCES[code] * 3).pieces.keys() == {code}
    found = looked(SENTENCES[code] * 3, language=code)
    assert found.state == "passed" and "by an estimate" in found.evidence


def test_a_reply_that_changes_its_language_half_way_is_seen() -> None:
    found = looked(SENTENCES["en"] * 10 + " " + SENTENCES["de"] * 10, language="en")
    assert found.state == "failed" and 0.2 < (found.score or 0) < 0.8
    assert "parts are German, not English" in found.evidence
    assert looked("Yes, of course.", language="en").state == "unknown", "too little for an estimate"
    assert set(STOP_WORDS) < set(NAMES)


def test_code_is_compiled_where_its_language_can_be_judged() -> None:
    assert looked(REPORT, code=True).evidence == "blocks of code that compile: 1"
    broken = REPORT + '\n```py\nprint("x"\n```\n\n```json\n{"a": }\n```\n\n```rust\nfn\n```\n'
    found = looked(broken, code=True)
    assert found.state == "failed" and found.score == pytest.approx(1 / 3)
    assert (
        "2 of 3 blocks of code do not compile: python in line " in found.evidence
        and "never closed" in found.evidence
    )
    assert looked("```rust\nfn main( {}\n```\n", code=True).state == "unknown"
    assert looked("[a]\nb = ", "x.toml", code=True).state == "failed"
    assert looked("def f(:\n", "x.py", code=True).evidence.startswith("its code does not compile: python")
    assert looked("```python\n>>> 1 + 1\n2\n```\n", code=True).state == "passed", "a session with its answers"
    assert looked("```python\n" + "(" * 5000 + "\n```\n", code=True).state == "failed"


def test_likeness_to_a_golden_file_is_counted_in_words_and_in_values() -> None:
    golden = Output("golden.md", REPORT.encode())
    assert looked(REPORT, beside=Beside(golden=golden), golden="g").score == 1.0
    found = looked(
        REPORT.replace("bridge", "road"), beside=Beside(golden=golden), golden="g", golden_least=0.99
    )
    assert (
        found.state == "failed"
        and "99 % are asked for" in found.evidence
        and "first other line" in found.evidence
    )
    values = Beside(golden=Output("g.json", b'{"a": [1, 2, {"b": true}], "c": null}'))
    found = looked('{"c": null, "a": [1.0, 3, {"b": true}]}', "x.json", values, golden="g")
    assert (found.state, found.score) == ("failed", 0.75) and "$.a[1] differs" in found.evidence
    assert looked("x", beside=Beside(faults={"golden": "no file"}), golden="g").state == "unknown"


def test_a_rule_that_only_warns_makes_an_output_doubtful() -> None:
    rules = OutputRules(headings=("Budget",), min_bytes=1, warn=("headings",))
    results = judged(rules, Output("a.md", REPORT.encode()), len(REPORT), Beside())
    state, score = summed(results)
    assert state == "doubtful" and score == pytest.approx(2 / 3, abs=1e-3)
    assert why_refused(results) is None
    refused = judged(OutputRules(headings=("Budget",)), Output("a.md", REPORT.encode()), 1, Beside())
    assert why_refused(refused) == "headings: it lacks the heading Budget"


def test_what_is_no_text_fails_the_rules_that_need_text() -> None:
    assert "it is not text: byte 0 is not UTF-8" in looked(b"\xff\xfa\x00", headings=("a",)).evidence
    assert looked("Größe".encode("utf-16"), patterns=("Größe",)).state == "passed"
    assert looked(b"{", "a.json", patterns=("a",)).state == "failed"


ALL = OutputRules(
    min_bytes=10, headings=("A",), patterns=("x",), forbidden=("y",), not_truncated=True, not_repeated=True,
    language="en", code=True, golden="g", schema="s",
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300), st.sampled_from(["a.md", "a.json", "a.jsonl", "a.py", "a.toml", "a"]))
def test_no_output_brings_the_rules_down(body: bytes, name: str) -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"minLength": 3}}}
    results = judged(ALL, Output(name, body), len(body), Beside(schema, Output(name, b"# A\nx")))
    assert len(results) == 11
    assert all(each.score is None or 0 <= each.score <= 1 for each in results)


@settings(deadline=None)
@given(st.text(alphabet="#`~ab \n-=", max_size=120))
def test_headings_and_blocks_are_read_from_anything(text: str) -> None:
    assert all(1 <= each.level <= 6 for each in headings(text))
    assert all(each.line >= 1 for each in blocks(text))


def test_the_configuration_says_what_is_wrong_with_rules() -> None:
    def problems(rules: str, job: str = "items = 'a/*'\noutputs = 'o/{stem}'\ncommand = 'x {item}'") -> str:
        with pytest.raises(ConfigError) as refused:
            parse_config(f"[jobs.a]\n{job}\n[jobs.a.validate]\n{rules}\n", {})
        return "\n".join(refused.value.problems)

    assert "headngs" in problems("headngs = ['a']") and "headings" in problems("headngs = ['a']")
    assert 'patterns holds the expression "("' in problems("patterns = ['(']")
    assert "language must be one of" in problems("language = 'klingon'")
    assert "min_bytes is more than max_bytes" in problems("min_bytes = 5\nmax_bytes = 4")
    assert "does not say where its outputs are" in problems("code = true", "command = 'x'")
    assert "outputs of the job says already" in problems("files = 'o/*'")
    assert "holds an empty one" in problems("headings = ['## ']")
