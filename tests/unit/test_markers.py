from nightdesk.core.markers import parse_environment, run_in


def test_a_run_of_another_desk_is_not_ours_even_under_the_same_name() -> None:
    theirs = {"NIGHTDESK_RUN": "count-1", "NIGHTDESK_DESK": "/other"}
    assert run_in(theirs, "/mine") is None
    assert run_in(theirs | {"NIGHTDESK_DESK": "/mine"}, "/mine") == "count-1"
    assert run_in({}, "/mine") is None


def test_the_environment_of_a_process_is_read_without_foreign_bytes_doing_harm() -> None:
    raw = b"PATH=/bin\0NIGHTDESK_RUN=n\xff1\0X_NIGHTDESK_RUN=no\0NIGHTDESK_ITEM=a=b\0"
    assert parse_environment(raw) == {"NIGHTDESK_RUN": "n\ufffd1", "NIGHTDESK_ITEM": "a=b"}
