"""Theme files: the shipped ones, the user's, broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.color import Color

from nightdesk.tui.theme_files import shipped_folder
from nightdesk.tui.themes import load_themes, read_theme
from tests.support.viewer import FakeEngine, screen_text, until, viewer

SHIPPED = {"nightdesk-dark", "nightdesk-light", "nightdesk-contrast", "nightdesk-ansi"}


def test_the_shipped_themes_are_whole() -> None:
    themes, problems = load_themes(shipped_folder())
    assert {theme.name for theme in themes} == SHIPPED
    assert problems == []


TONES = ("text-muted", "text-success", "text-warning", "text-error", "text-accent", "text-primary")


@pytest.mark.parametrize("name", ["nightdesk-dark", "nightdesk-light", "nightdesk-contrast"])
def test_texts_stand_out_from_whatever_is_behind_them(name: str) -> None:
    theme = read_theme(shipped_folder() / f"{name}.toml")
    page, sheet, bar = (Color.parse(back or "") for back in (theme.background, theme.surface, theme.panel))
    cursor = page.blend(Color.parse(theme.primary), 0.2)
    least = 7.0 if name == "nightdesk-contrast" else 4.5
    for tone in TONES:
        color = Color.parse(theme.variables[tone])
        assert min(contrast(color, back) for back in (page, sheet, bar, cursor)) >= least, tone
    faint = Color.parse(theme.variables["text-disabled"])
    assert min(contrast(faint, back) for back in (page, sheet)) >= 4.5
    assert min(contrast(faint, back) for back in (bar, cursor)) >= 3.5


def contrast(one: Color, other: Color) -> float:
    """The ratio of luminances that the web's accessibility rules use."""

    def luminance(color: Color) -> float:
        parts = [part / 255 for part in color.rgb]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name = ", "Invalid"),
        ('name = "x"\n', "primary"),
        ('name = "x"\nprimary = "nix"\n', "not a colour"),
        ('name = "x"\nprimary = "red"\nfont = "y"\n', "font"),
        ("\x00", "can't be used"),
    ],
)
def test_a_broken_file_is_one_sentence_that_names_it(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    themes, problems = load_themes(tmp_path, tmp_path / "absent")
    assert themes == []
    assert len(problems) == 1 and "x.toml" in problems[0] and word in problems[0]


def test_the_users_theme_wins_over_a_shipped_one_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "dark.toml").write_text('name = "nightdesk-dark"\nprimary = "#123456"\n')
    themes, _ = load_themes(shipped_folder(), tmp_path)
    assert next(theme for theme in themes if theme.name == "nightdesk-dark").primary == "#123456"


@pytest.mark.parametrize("name", sorted(SHIPPED))
async def test_the_viewer_runs_in_each_theme(engine: FakeEngine, name: str) -> None:
    app = viewer(engine, theme=name)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        assert app.theme == name
