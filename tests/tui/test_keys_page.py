from docs import keys


def test_the_page_of_keys_says_what_the_program_does() -> None:
    assert keys.PAGE.read_text(encoding="utf-8") == keys.page(), "run: make keys"
