from nightdesk.core.jobs.item_course import KEPT, RUNS_KEPT, ItemCourse


def test_an_exchange_belongs_to_the_item_whose_line_was_written_last_before_it() -> None:
    course = ItemCourse()
    assert course.tell("r", "one.mp3", 100)
    assert course.tell("r", "two.mp3", 200)
    assert [course.item_at("r", at) for at in (50, 100, 199, 200, 999)] == [
        "one.mp3",
        "one.mp3",
        "one.mp3",
        "two.mp3",
        "two.mp3",
    ]
    assert course.item_at("another", 150) is None


def test_the_same_item_told_again_is_no_news_and_an_older_line_changes_nothing() -> None:
    course = ItemCourse()
    course.tell("r", "one.mp3", 100)
    assert not course.tell("r", "one.mp3", 150)
    assert not course.tell("r", "zero.mp3", 90)
    assert course.item_at("r", 500) == "one.mp3"


def test_a_night_of_many_items_and_runs_takes_no_more_memory_than_an_hour() -> None:
    course = ItemCourse()
    for run in range(RUNS_KEPT * 2):
        for item in range(KEPT * 3):
            course.tell(str(run), str(item), item)
    last = str(RUNS_KEPT * 2 - 1)
    assert course.item_at(last, KEPT * 3) == str(KEPT * 3 - 1)
    assert course.item_at(last, 0) == str(KEPT * 2)
    assert course.item_at("0", 5) is None
